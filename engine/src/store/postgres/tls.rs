//! TLS to Postgres, by rustls, as libpq's `sslmode` has it
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
//!
//! | `sslmode` | encrypted | the certificate |
//! |---|---|---|
//! | `disable` | never | |
//! | `allow`, `prefer` | where the server offers it | not looked at |
//! | `require` | always | not looked at; as `verify-ca` where `sslrootcert` is given |
//! | `verify-ca` | always | of a trusted authority |
//! | `verify-full` | always | the same, and for the host of the URL |

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any certificate: the line is encrypted, whoever is at its end.
    Any,
    /// One of a trusted authority, for whatever host.
    Authority,
    /// One of a trusted authority, for this host.
    Host,
}

/// `roots` is a PEM file; without one, or with `system`, the machine's own authorities count.
pub(super) fn connector(trust: Trust, roots: Option<&str>) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match trust {
        Trust::Any => {
            let verifier = Arc::new(Lenient { provider, authority: None });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::Authority => {
            let roots = Arc::new(read_roots(roots)?);
            let authority = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
            let authority = Some(authority.map_err(|error| error.to_string())?);
            let verifier = Arc::new(Lenient { provider, authority });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Trust::Host => builder.with_root_certificates(read_roots(roots)?).with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn read_roots(file: Option<&str>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    match file {
        None | Some("system") => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(
                    "this machine has no certificate authorities: install ca-certificates, or name a file with \
                     sslrootcert"
                        .to_owned(),
                );
            }
        }
        Some(file) => {
            let wrong = |reason: String| format!("sslrootcert={file}: {reason}");
            for certificate in
                CertificateDer::pem_file_iter(Path::new(file)).map_err(|error| wrong(error.to_string()))?
            {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                store.add(certificate).map_err(|error| wrong(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(wrong("there is no certificate in it".to_owned()));
            }
        }
    }
    Ok(store)
}

/// Looks at less than a browser would, because the URL asks for no more.
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain was checked before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
