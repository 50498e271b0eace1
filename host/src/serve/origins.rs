//! Pages of other sites: which may use this server.

use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use std::time::Duration;
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::error::Refusal;

/// The time for which a browser may keep what it was allowed.
const KEPT: Duration = Duration::from_secs(600);

/// The sites whose pages may use this server; by default none.
#[derive(Clone, Debug, Default)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Sites as `https://app.example.org`. The error says which is none.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let one = |word: &String| {
            let word = word.to_ascii_lowercase();
            let uri: Option<Uri> = word.parse().ok();
            let is_site = uri.is_some_and(|uri| {
                let is_host = |host: &str| !host.contains(['*', '@']);
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.authority().is_some_and(|host| is_host(host.as_str()))
                    && uri.path() == "/"
                    && uri.query().is_none()
            });
            // Browsers leave out the port that a scheme has anyway.
            let usual =
                [("http://", ":80"), ("https://", ":443")].into_iter().find(|(scheme, _)| word.starts_with(scheme));
            let value = HeaderValue::from_str(usual.and_then(|(_, port)| word.strip_suffix(port)).unwrap_or(&word));
            match value.ok().filter(|_| is_site && !word.ends_with('/')) {
                Some(value) => Ok(value),
                None => {
                    Err(format!("{word:?} is no site: name it as https://app.example.org, with its port if it has one"))
                }
            }
        };
        words.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Refuses what a page of another site sends.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return self.check_loaded(headers) };
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let (own, site) = (headers.get(header::HOST).map(text), text(origin));
        let host = site.split_once("://").map_or(site.as_str(), |(_, host)| host);
        let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(host));
        match is_own || self.0.contains(origin) {
            true => Ok(()),
            false => Err(Refusal::forbidden(format!(
                "pages of {site} may not use this server, unless it is started with --origin {site}"
            ))),
        }
    }

    /// Refuses what a page of another site loads, as a picture or a frame: it goes without `Origin`. A page may be opened
    /// from everywhere.
    fn check_loaded(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let says = |name: &str, value: &str| headers.get(name).is_some_and(|said| said == value);
        let is_elsewhere = says("sec-fetch-site", "cross-site") || says("sec-fetch-site", "same-site");
        let opens = says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document");
        let is_of = |page: &str| {
            let rest = |site: &HeaderValue| page.strip_prefix(site.to_str().ok()?);
            self.0.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_named = headers.get(header::REFERER).and_then(|page| page.to_str().ok()).is_some_and(is_of);
        match is_elsewhere && !opens && !is_named {
            true => Err(Refusal::forbidden(
                "pages of other sites may load nothing of this server, unless it is started with --origin SITE",
            )),
            false => Ok(()),
        }
    }

    /// What answers browsers that ask for the pages of these sites; none if there are none.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let layer = CorsLayer::new()
            .allow_origin(self.0.clone())
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            // Clients send headers of their own.
            .allow_headers(AllowHeaders::mirror_request())
            .allow_private_network(true)
            .expose_headers([header::RETRY_AFTER])
            .max_age(KEPT);
        (!self.0.is_empty()).then_some(layer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn origins(words: &[&str]) -> Result<Origins, String> {
        Origins::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn other_sites_are_refused_unless_named() {
        let sent = |origin: &str| {
            let pairs = [(header::ORIGIN, origin), (header::HOST, "localhost:7700")];
            pairs.into_iter().map(|(name, value)| (name, value.parse().unwrap())).collect::<HeaderMap>()
        };
        let none = Origins::default();
        assert!(none.check(&HeaderMap::new()).is_ok() && none.check(&sent("http://localhost:7700")).is_ok());
        for other in ["http://localhost:7701", "null", "https://evil.example"] {
            assert!(none.check(&sent(other)).is_err(), "{other}");
        }
        let one = origins(&["https://app.example.org"]).unwrap();
        assert!(one.check(&sent("https://app.example.org")).is_ok());
        assert!(one.check(&sent("http://app.example.org")).is_err());
        assert!(none.layer().is_none() && one.layer().is_some());
    }

    #[test]
    fn a_page_of_another_site_loads_nothing() {
        let named = origins(&["https://app.example.org"]).unwrap();
        let loads = |site: &str, mode: &str, dest: &str, page: &str| {
            let pairs =
                [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest), ("referer", page)];
            let header = |(name, value): (&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            named.check(&pairs.into_iter().map(header).collect()).is_ok()
        };
        let evil = "https://evil.example/";
        assert!(loads("same-origin", "no-cors", "image", evil) && loads("none", "navigate", "document", ""));
        assert!(loads("cross-site", "navigate", "document", evil));
        assert!(loads("cross-site", "no-cors", "image", "https://app.example.org/a/b"));
        assert!(!loads("cross-site", "no-cors", "image", evil) && !loads("same-site", "no-cors", "audio", ""));
        assert!(!loads("cross-site", "navigate", "iframe", evil));
        assert!(!loads("cross-site", "no-cors", "image", "https://app.example.org.evil.example/"));
    }

    #[test]
    fn a_site_is_a_scheme_and_a_host() {
        assert!(origins(&["http://localhost:5173", "https://app.example.org"]).is_ok());
        assert_eq!(origins(&["https://App.example.org:443"]).unwrap().0, ["https://app.example.org"]);
        for wrong in [
            "https://*.example.org",
            "https://me@example.org",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/a",
            "*",
            "ftp://a.org",
        ] {
            assert!(origins(&[wrong]).unwrap_err().contains("is no site"), "{wrong}");
        }
    }
}
