//! The trust in a server whose certificate the user names: that of an authority, or the server's own.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use std::path::Path;
use std::sync::Arc;

/// Trusts what the system trusts, what the named certificates have signed, and a server that shows one of them.
#[derive(Debug)]
struct Named {
    system: Verifier,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

/// A configuration that trusts the certificates in the file at `path` as well.
pub(crate) fn trusting(path: &Path) -> Result<ClientConfig, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no certificate in it; it must be PEM".to_owned());
    }
    let provider = Arc::new(ring::default_provider());
    let system = Verifier::new_with_extra_roots(certificates.clone(), provider.clone());
    let system = system.map_err(|error| error.to_string())?;
    let named = Named { system, certificates, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(named)).with_no_client_auth())
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.system.verify_server_cert(shown, others, name, ocsp, now);
        // Of a certificate that the user named, nobody else must vouch; it must still be for this server.
        let is_named = self.certificates.iter().any(|certificate| certificate == shown);
        match verified {
            Err(Error::InvalidCertificate(_)) if is_named => {
                let parsed = ParsedCertificate::try_from(shown)?;
                verify_server_name(&parsed, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    /// The outcome of a handshake with a server that shows this certificate.
    fn meet(name: &'static str, shown: &str, trusted: &str) -> Result<(), String> {
        let fixture = |name: &str| format!("{}/fixtures/{name}.pem", env!("CARGO_MANIFEST_DIR"));
        let certificate = CertificateDer::from_pem_file(fixture(shown)).unwrap();
        let key = PrivateKeyDer::from_pem_file(fixture(&format!("{shown}.key"))).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key);
        let mut server = ServerConnection::new(Arc::new(server.unwrap())).unwrap();
        let client = trusting(Path::new(&fixture(trusted)))?;
        let mut client = ClientConnection::new(Arc::new(client), name.try_into().unwrap()).unwrap();
        for _ in 0..8 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().map_err(|error| error.to_string())?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().map_err(|error| error.to_string())?;
        }
        (!client.is_handshaking()).then_some(()).ok_or_else(|| "no handshake".to_owned())
    }

    #[test]
    fn a_server_may_have_signed_its_own_certificate_if_that_is_named() {
        assert_eq!(meet("localhost", "server", "server"), Ok(()));
        for (name, trusted) in [("localhost", "other"), ("example.com", "server")] {
            let refused = meet(name, "server", trusted).unwrap_err();
            assert!(refused.contains("certificate"), "{refused}");
        }
        assert!(trusting(Path::new("none.pem")).is_err());
        assert!(trusting(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).is_err());
    }
}
