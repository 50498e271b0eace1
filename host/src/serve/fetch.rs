//! Files that are given by their address: fetched where the server may, within bounds, and never from this machine or
//! its network unless that was allowed.

use axum::http::{Uri, header};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::error::Refusal;
use super::limits::Limits;
use super::memory::Share;
use super::working;
use crate::wording::beginning;

/// Characters of an address that an error shows.
const SHOWN: usize = 200;
/// The word for all hosts.
const ANY: &str = "*";
/// The word for addresses of this machine and its network.
const PRIVATE: &str = "private";

/// The hosts that files may be fetched from; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// `example.org`, or `*.example.org` for all below it.
    names: Vec<String>,
    any: bool,
    /// True if a host may have an address of this machine or its network.
    private: bool,
}

impl Hosts {
    /// Hosts by their names, `*.NAME` for all below one, or `*` for all; `private` allows addresses of this machine and
    /// its network, too. The error says which word is no host.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut hosts = Self::default();
        for word in words {
            match word.as_str() {
                ANY => hosts.any = true,
                PRIVATE => hosts.private = true,
                name if name.is_empty()
                    || name.strip_prefix("*.").unwrap_or(name).contains(['/', ':', '@', ' ', '*']) =>
                {
                    return Err(format!(
                        "{name:?} is no host: name it as images.example.org, without https:// or a port"
                    ));
                }
                name => hosts.names.push(name.to_ascii_lowercase()),
            }
        }
        hosts.any |= hosts.private && hosts.names.is_empty();
        Ok(hosts)
    }

    /// True if nothing may be fetched.
    fn is_nothing(&self) -> bool {
        !self.any && self.names.is_empty()
    }

    fn has(&self, host: &str) -> bool {
        let fits = |name: &String| match name.strip_prefix('*') {
            Some(end) => host.ends_with(end),
            None => host == name,
        };
        self.any || self.names.iter().any(fits)
    }
}

/// What fetches files.
pub(super) struct Fetcher {
    hosts: Hosts,
    agent: ureq::Agent,
    /// Fetches at once.
    places: Arc<Semaphore>,
    limits: Limits,
}

impl Fetcher {
    pub(super) fn new(hosts: Hosts, limits: Limits) -> Self {
        let config = ureq::Agent::config_builder()
            // Each address is one that the client has given, and that was checked.
            .max_redirects(0)
            .http_status_as_error(false)
            // A proxy would look the name up itself.
            .proxy(None)
            .timeout_global(Some(limits.fetch))
            .max_response_header_size(64 << 10)
            // No connection is kept for another request.
            .max_idle_connections(0)
            .user_agent(concat!("fusemix/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Checked { private: hosts.private });
        Self { hosts, agent, places: Arc::new(Semaphore::new(limits.fetches)), limits }
    }

    /// Refuses an address that nothing is fetched from.
    pub(super) fn check(&self, url: &str) -> Result<(), Refusal> {
        if self.hosts.is_nothing() {
            return Err(Refusal::invalid(
                "this server fetches no URLs: send the content as data:TYPE;base64,..., or start it with --allow-fetch",
            ));
        }
        let uri: Result<Uri, _> = url.parse();
        let shown = beginning(url, SHOWN);
        let uri = uri.map_err(|error| Refusal::invalid(format!("{shown} is no URL: {error}")))?;
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(Refusal::invalid(format!("{shown} has a user's name in it, which is not sent anywhere")));
        }
        match self.hosts.has(host.trim_end_matches('.')) {
            true => Ok(()),
            false => Err(Refusal::invalid(format!(
                "this server fetches nothing from {host:?}: send the content as data:TYPE;base64,..., or start it with \
                 --allow-fetch={host}"
            ))),
        }
    }

    /// The file at an address that was checked, with its share of the memory, which is held however long it takes.
    pub(super) async fn fetch(&self, url: String, share: Share) -> Result<(Vec<u8>, Share), Refusal> {
        let place = timeout(self.limits.fetch, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Refusal::busy("other files are being fetched; send this again later"));
        };
        let (agent, limits) = (self.agent.clone(), self.limits);
        working(move || {
            let _place = place;
            Ok((get(&agent, &url, &limits)?, share))
        })
        .await
    }
}

fn get(agent: &ureq::Agent, url: &str, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let failed = |error: Error| {
        let url = beginning(url, SHOWN);
        match error {
            Error::BodyExceedsLimit(most) => {
                let most = crate::bytes::Bytes(most);
                Refusal::large(format!("the file at {url} is larger than {most}"))
            }
            Error::Timeout(_) => {
                Refusal::invalid(format!("the file at {url} did not arrive within {} s", limits.fetch.as_secs()))
            }
            Error::Other(error) => Refusal::invalid(format!("{url} is not fetched: {error}")),
            error => Refusal::invalid(format!("{url} cannot be fetched: {error}")),
        }
    };
    let mut answer = agent.get(url).call().map_err(failed)?;
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let (url, to) = (beginning(url, SHOWN), beginning(to, SHOWN));
        return Err(Refusal::invalid(format!("{url} leads on to {to}, and nothing is followed: send that address")));
    }
    if !status.is_success() {
        return Err(Refusal::invalid(format!("{} was answered with {status}", beginning(url, SHOWN))));
    }
    answer.body_mut().with_config().limit(limits.fetched as u64).read_to_vec().map_err(failed)
}

/// A resolver whose addresses are those that are connected to: none of them is this machine's or its network's, unless
/// `private` is true.
#[derive(Debug)]
struct Checked {
    private: bool,
}

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let all = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut good = self.empty();
        let is_good = |ip: IpAddr| self.private || is_public(ip);
        all.iter().filter(|address| is_good(address.ip())).for_each(|address| good.push(*address));
        match good.is_empty() {
            true => Err(Error::Other(Box::new(NotPublic { host: uri.host().unwrap_or_default().to_owned() }))),
            false => Ok(good),
        }
    }
}

/// A host of this machine or its network.
#[derive(Debug)]
struct NotPublic {
    host: String,
}

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        write!(f, "{host} is an address of this machine or its network, which --allow-fetch=private would allow")
    }
}

impl std::error::Error for NotPublic {}

/// True for addresses of the public internet alone.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation();
    // This network, carriers' own, protocols', benchmarks', 6to4's relays; multicast, and what is reserved behind it.
    let is_reserved = a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || (a == 192 && b == 88 && c == 99)
        || a >= 224;
    !is_special && !is_reserved
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let [.., c, d] = ip.segments();
    let v4 = Ipv4Addr::from(u32::from(c) << 16 | u32::from(d));
    match (a, b) {
        // IPv4 in IPv6's form, and behind NAT64.
        _ if ip.to_ipv4_mapped().is_some() => is_public_v4(v4),
        (0x64, 0xff9b) => ip.segments()[2..6] == [0; 4] && is_public_v4(v4),
        // Teredo and other protocols' own, documentation, 6to4.
        (0x2001, ..0x200) | (0x2001, 0xdb8) | (0x2002, _) | (0x3fff, ..0x1000) => false,
        // All that was given out.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(words: &[&str]) -> Result<Hosts, String> {
        Hosts::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_public_addresses_are_public() {
        for ip in ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn hosts_are_named_or_all() {
        assert!(Hosts::default().is_nothing());
        let named = hosts(&["Images.example.org", "*.example.com"]).unwrap();
        assert!(named.has("images.example.org") && named.has("a.b.example.com"));
        assert!(!named.has("example.com") && !named.has("example.org") && !named.has("badexample.com"));
        assert!(hosts(&["*"]).unwrap().has("anything") && !hosts(&["*"]).unwrap().private);
        let private = hosts(&["private"]).unwrap();
        assert!(private.any && private.private);
        let both = hosts(&["private", "nas"]).unwrap();
        assert!(!both.any && both.private && both.has("nas") && !both.has("other"));
        for wrong in ["https://example.org", "example.org:80", ""] {
            assert!(hosts(&[wrong]).unwrap_err().contains("is no host"), "{wrong}");
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let limits = Limits { fetch: std::time::Duration::from_millis(200), ..Limits::default() };
        let fetcher = Fetcher::new(hosts(&["private"]).unwrap(), limits);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = format!("http://{}/a.png", silent.local_addr().unwrap());
        let fetched = runtime.block_on(fetcher.fetch(url, Share::default()));
        assert!(format!("{:?}", fetched.unwrap_err()).contains("did not arrive"));
    }

    #[test]
    fn what_is_not_fetched_is_refused_with_the_flag_that_would() {
        let check = |words: &[&str], url: &str| Fetcher::new(hosts(words).unwrap(), Limits::default()).check(url);
        let refused = |words: &[&str], url: &str| format!("{:?}", check(words, url).unwrap_err());
        assert!(refused(&[], "https://example.org/a.png").contains("--allow-fetch"));
        assert!(refused(&["a.org"], "https://b.org/a.png").contains("--allow-fetch=b.org"));
        assert!(refused(&["a.org"], "https://a.org@b.org/a.png").contains("a user's name"));
        assert!(check(&["a.org"], "https://A.org./a.png").is_ok());
    }
}
