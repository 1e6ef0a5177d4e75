//! Why a handshake of a client failed, told so that a person knows what to do: each fault has a sentence of
//! its own. Whom to trust is decided by the verifier of rustls; here its verdicts are only witnessed.

use super::files::end_of;
use super::{TlsFault, name};
use onsembl_protocol::session::DialFault;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, Error, InvalidMessage,
    SignatureScheme,
};
use webpki::EndEntityCert;

/// What was remarkable about the last certificates that were shown.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// The last chain whose issuer is unknown.
    seen: Mutex<Option<Stranger>>,
    /// When the last certificate of a server ends, be it good or not.
    ends: Mutex<Option<SystemTime>>,
}

/// A chain that leads to no trusted issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stranger {
    /// One certificate, which issued itself.
    SelfSigned,
    /// One certificate, of an issuer who was not sent.
    Alone { issuer: String },
    /// Several; the last was issued by this one.
    Chain { issuer: String },
}

impl Stranger {
    fn of(first: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Option<Self> {
        let last = EndEntityCert::try_from(others.last().unwrap_or(first)).ok()?;
        let issuer =
            name::shown(last.issuer()).unwrap_or_else(|| "an issuer without a name".into());
        Some(match (others.is_empty(), last.issuer() == last.subject()) {
            (true, true) => Self::SelfSigned,
            (true, false) => Self::Alone { issuer },
            (false, _) => Self::Chain { issuer },
        })
    }
}

impl Witness {
    /// A server showed this certificate.
    pub(super) fn saw(&self, first: &CertificateDer<'_>) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = end_of(first);
    }

    /// What a failed handshake means, and what to do if the fault alone does not say it.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the kinds of the libraries are open")]
    pub(super) fn told(&self, error: &io::Error) -> TlsFault {
        let tls = |why: &str| TlsFault { fault: DialFault::TlsFailed, why: why.to_owned() };
        let Some(fault) = error.get_ref().and_then(|e| e.downcast_ref::<Error>()) else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => tls(
                    "the connection ended within it; the peer may not speak TLS, or may reject this client",
                ),
                _ => tls(&error.to_string()),
            };
        };
        match fault {
            Error::InvalidCertificate(fault) => {
                let (fault, why) = self.certificate(fault);
                TlsFault { fault, why }
            }
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
                TlsFault { fault: DialFault::NoTls, why: String::new() }
            }
            Error::AlertReceived(alert) => tls(&alerted(*alert)),
            other => tls(&other.to_string()),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
    fn certificate(&self, fault: &CertificateError) -> (DialFault, String) {
        match fault {
            CertificateError::ExpiredContext { time, not_after } => (
                DialFault::CertificateExpired,
                format!(
                    "it expired on {}; renew it, or set this machine's clock, which says {}",
                    date(*not_after),
                    date(*time),
                ),
            ),
            CertificateError::NotValidYetContext { time, not_before } => (
                DialFault::CertificateEarly,
                format!(
                    "it is not valid before {}; set this machine's clock, which says {}, or wait",
                    date(*not_before),
                    date(*time),
                ),
            ),
            CertificateError::NotValidForNameContext { expected, presented } => {
                let wanted = expected.to_str();
                let why = match presented.is_empty() {
                    true => format!(
                        "it has no host name, and must name {wanted} (as subjectAltName; a common name does not count)"
                    ),
                    false => format!(
                        "it is for {}, and not for {wanted}; check the host in the URL",
                        names(presented),
                    ),
                };
                (DialFault::CertificateName, why)
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
                DialFault::CertificateUnfit,
                "it is not a server certificate (extended key usage); issue one with serverAuth".to_owned(),
            ),
            CertificateError::UnknownIssuer => (DialFault::CertificateUntrusted, self.stranger()),
            // Two of one name, with keys of different kinds, show so.
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
                DialFault::CertificateUntrusted,
                "it is not signed by the CA of that name that is trusted here; the CA has another key since, so trust its new certificate (--tls-ca)".to_owned(),
            ),
            CertificateError::Other(other) => {
                let why = match other.0.downcast_ref::<webpki::Error>() {
                    Some(webpki::Error::CaUsedAsEndEntity) => {
                        "it is a CA certificate, which a server must not use; issue one with basicConstraints CA:FALSE".to_owned()
                    }
                    Some(_) | None => other.0.to_string(),
                };
                (DialFault::CertificateUnfit, why)
            }
            other => (DialFault::CertificateUnfit, other.to_string()),
        }
    }

    fn stranger(&self) -> String {
        match self.seen().take() {
            Some(Stranger::SelfSigned) => {
                "it is self-signed; if it is the right one, trust it (--tls-ca)".to_owned()
            }
            Some(Stranger::Alone { issuer }) => format!(
                "it was issued by \"{issuer}\", which is not trusted here, and came without an intermediate certificate; give the server its whole chain, or trust the issuer (--tls-ca)"
            ),
            Some(Stranger::Chain { issuer }) => format!(
                "its chain leads to \"{issuer}\", which is not trusted here; trust it (--tls-ca) unless something on the path intercepts TLS"
            ),
            None => {
                "none of the issuers trusted here issued it; trust its issuer (--tls-ca)".to_owned()
            }
        }
    }

    /// When the last certificate that was shown ends, if that can be read.
    pub(super) fn ends(&self) -> Option<SystemTime> {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Option<Stranger>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The verifier of rustls, and who looks on.
#[derive(Debug)]
pub(super) struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    witness: Arc<Witness>,
}

impl Verifier {
    pub(super) fn new(verifier: Arc<WebPkiServerVerifier>, witness: &Arc<Witness>) -> Self {
        Self { verifier, witness: Arc::clone(witness) }
    }
}

/// Verdicts are those of rustls.
impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (first, others) = (end_entity, intermediates);
        self.witness.saw(first);
        let verdict =
            self.verifier.verify_server_cert(first, others, server_name, ocsp_response, now);
        if let Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) = verdict {
            *self.witness.seen() = Stranger::of(first, others);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// What the peer's alert means.
#[allow(clippy::wildcard_enum_match_arm, reason = "an enum of another crate")]
fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the peer requires a client certificate (mutual TLS), and this client sent none".to_owned(),
        AlertDescription::UnknownCA => "the peer does not trust the issuer of this client's certificate".to_owned(),
        AlertDescription::NoApplicationProtocol => "the peer does not offer HTTP/1.1 (ALPN), which WebSockets need; enable it beside HTTP/2".to_owned(),
        AlertDescription::ProtocolVersion => "the peer supports neither TLS 1.2 nor 1.3; enable one of them".to_owned(),
        other => Error::AlertReceived(other).to_string(),
    }
}

/// The alert behind an error of what is carried by TLS: in TLS 1.3 a server judges a client's certificate when the
/// client has begun to speak already.
pub(crate) fn alert_behind(error: &(dyn std::error::Error + 'static)) -> Option<TlsFault> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let fault = inner.and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(Error::AlertReceived(alert)) = fault {
            return Some(TlsFault { fault: DialFault::TlsFailed, why: alerted(*alert) });
        }
        next = error.source();
    }
    None
}

fn date(time: UnixTime) -> String {
    // A date that cannot be written is left out.
    let latest = Duration::from_secs(253_402_300_799);
    let since = Duration::from_secs(time.as_secs()).min(latest);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}

/// As many as a log line has room for, without the words of rustls around them.
fn names(presented: &[String]) -> String {
    const MOST: usize = 3;
    let bare = |name: &String| {
        let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inside.unwrap_or(name).trim_matches('"').escape_debug().to_string()
    };
    let shown: Vec<String> = presented.iter().take(MOST).map(bare).collect();
    let more = if presented.len() > MOST { " and others" } else { "" };
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_names_are_for_people() {
        assert_eq!(
            date(UnixTime::since_unix_epoch(Duration::ZERO)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
        assert!(date(UnixTime::since_unix_epoch(Duration::MAX)).ends_with("9999 23:59:59 GMT"));
        let presented =
            ["DnsName(\"a.test\")", "IpAddress(127.0.0.1)", "odd", "x"].map(str::to_owned);
        assert_eq!(names(&presented), "a.test, 127.0.0.1, odd and others");
        assert_eq!(names(&presented[..1]), "a.test");
    }
}
