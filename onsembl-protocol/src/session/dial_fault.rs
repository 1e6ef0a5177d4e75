//! The fault of a dial, as observed by the dialling side: evidence for people and for verdicts.
//!
//! No decision depends on it: what an agent does next follows from the [`DialFailure`] alone.

use super::dial::DialFailure;
use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $what:literal, $advice:literal;)*) => {
        /// What was wrong with a dial. Each has an id that never changes, a sentence, and what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum DialFault {
            $($(#[$doc])* $name,)*
        }

        impl DialFault {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Reads an id; `None` for one of a later version.
            #[must_use]
            pub fn parse(id: &str) -> Option<Self> {
                match id {
                    $($id => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its id: in status files, logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $id,)*
                }
            }

            /// What happened, in one sentence that claims no more than that.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                }
            }

            /// What a person can do; empty where the particulars say it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self {
                    $(Self::$name => $advice,)*
                }
            }
        }
    };
}

faults! {
    /// The source of tokens gave none.
    TokenMissing = "token-missing", "no token", "";
    /// The token cannot stand in a header.
    TokenUnfit = "token-unfit", "the token cannot be sent", "put the token alone on one line of the token file";
    /// The source of tokens did not answer.
    TokenUnanswered = "token-unanswered", "the token could not be read in time", "check the source of the token: a pipe, or a file system that does not respond";
    /// The resolver says that there is no such name.
    NameUnknown = "name-unknown", "the host name is unknown", "check the host in the URL, and whether this machine uses the name servers that know it";
    /// The name is there, and has no address.
    NameWithoutAddress = "name-without-address", "the host name has no address", "check the host in the URL, and its entry at the name server";
    /// No name server gave an answer that could be used.
    NameUnanswered = "name-unanswered", "the host name could not be resolved", "check this machine's network and its name servers";
    /// The look-up failed otherwise.
    NameFailed = "name-failed", "resolving the host name failed", "check this machine's network and its name servers";
    /// A host is there, and nothing listens on the port.
    ConnectRefused = "connect-refused", "the connection was refused", "check that the server runs and listens on that address and port";
    /// This machine, or a router, knows no way there.
    NoRoute = "no-route", "no route to the server", "check this machine's network, VPN and firewall";
    /// No answer to the attempts to connect.
    ConnectTimeout = "connect-timeout", "the server's host did not answer in time", "check the address, and whether a firewall drops packets to it";
    /// Connecting failed otherwise.
    ConnectFailed = "connect-failed", "no connection", "check the address and this machine's network";
    /// This process or this machine has no descriptors left.
    OutOfDescriptors = "out-of-descriptors", "this machine has no file descriptors left", "raise the limit on open files (ulimit -n), or end the processes that hold them";
    /// The settings name a proxy that cannot be used.
    ProxyUnusable = "proxy-unusable", "the settings name a proxy that cannot be used", "";
    /// There is no connection to the proxy.
    ProxyUnreachable = "proxy-unreachable", "the proxy could not be reached", "check --proxy, or HTTPS_PROXY and HTTP_PROXY; --proxy none goes without";
    /// The proxy broke off, or said nothing that could be read.
    ProxyUnanswered = "proxy-unanswered", "the proxy did not answer", "check --proxy, or HTTPS_PROXY and HTTP_PROXY, and the log of the proxy";
    /// The proxy requires credentials, or others.
    ProxyCredentials = "proxy-credentials", "the proxy requires credentials", "give the proxy's user and password in its URL, as http://user:password@host:port";
    /// The proxy refuses to connect to the server.
    ProxyRefused = "proxy-refused", "the proxy refuses to connect to the server", "ask the operator of the proxy to allow it";
    /// The proxy says that it does not get through to the server.
    ProxyFailed = "proxy-failed", "the proxy could not reach the server", "check the host and port in the URL, and whether the server runs";
    /// The server's certificate is out of date.
    CertificateExpired = "certificate-expired", "the server's certificate has expired", "";
    /// The server's certificate is not valid yet.
    CertificateEarly = "certificate-early", "the server's certificate is not valid yet", "";
    /// The server's certificate is for another host.
    CertificateName = "certificate-name", "the server's certificate is not for this host", "";
    /// The server's certificate leads to nobody who is trusted.
    CertificateUntrusted = "certificate-untrusted", "the server's certificate is not trusted", "";
    /// The server's certificate may not be used for this.
    CertificateUnfit = "certificate-unfit", "the server's certificate cannot be used", "";
    /// The peer does not speak TLS.
    NoTls = "no-tls", "the peer does not speak TLS", "check the port, or use http or ws in the URL of a server without TLS";
    /// The handshake failed otherwise.
    TlsFailed = "tls-failed", "the TLS handshake failed", "";
    /// The handshake took too long.
    TlsTimeout = "tls-timeout", "the TLS handshake was not finished in time", "check what listens on that port, and whether something on the path inspects TLS";
    /// The answer points elsewhere.
    Redirected = "redirected", "the dial was redirected", "put the right address into the URL; the redirect is not followed, because the token is for the named server";
    /// Something refused the dial that is not provably our server.
    RefusedOnTheWay = "refused-on-the-way", "the dial was refused, but not provably by the server", "ask the operator of the peer; it may be a proxy or filter on the path, or an older server";
    /// Something before the server says that it does not get through to it.
    Gateway = "gateway", "something in front of the server cannot reach it", "check that the server runs, and the proxy in front of it";
    /// Something that is not provably our server says that it is busy.
    Busy = "busy", "the peer is busy", "";
    /// HTTP, and no WebSocket.
    NoWebsocket = "no-websocket", "the peer refused the WebSocket upgrade", "check the path in the URL, that a proxy passes the upgrade on, and whether this network requires a login first (open a page in a browser)";
    /// TLS, where none was asked for.
    SpeaksTls = "speaks-tls", "the peer speaks TLS", "use https or wss in the URL";
    /// No HTTP.
    NoHttp = "no-http", "the reply is not HTTP (is this a TLS port? use https:// or wss://)", "check the host and port in the URL";
    /// The connection ended without an answer.
    ClosedUnanswered = "closed-unanswered", "the connection was closed without an answer", "check what listens there, and whether a firewall on the path cuts it";
    /// A connection, and no answer in time.
    Unanswered = "unanswered", "no answer came in time", "check what listens there, and whether the server is overloaded or stopped";
    /// Our server does not take the token.
    TokenRefused = "token-refused", "the server refused the token (HTTP 401)", "replace the token at its source; an agent checks it each second";
    /// Our server says that the token has expired.
    TokenExpired = "token-expired", "the server refused the token: it has expired (HTTP 401)", "replace the token at its source; an agent checks it each second";
    /// Our server says that the token is for another kind of peer.
    TokenWrongKind = "token-wrong-kind", "the server refused the token: it is for another kind of peer (HTTP 401)", "an agent needs one made by `onsembl-server token --agent NAME` and looks for it each second; a dashboard or command line needs one of kind dashboard";
    /// Our server says that it has made no such token.
    TokenUnknown = "token-unknown", "the server refused the token: it is not one of this server (HTTP 401)", "use a complete token of this server; an agent checks its source each second";
    /// Our server sends this agent away permanently.
    SentAway = "sent-away", "the server refuses this token or agent permanently (HTTP 403)", "";
    /// Our server cannot check the token now.
    ServerBusy = "server-busy", "the server cannot accept the agent now", "";
}

/// The steps of a dial, in order. The token is last: only the server judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say all")]
pub enum DialStage {
    Resolve,
    Connect,
    Proxy,
    Tls,
    Upgrade,
    Token,
}

impl DialStage {
    /// Its id.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Tls => "tls",
            Self::Upgrade => "upgrade",
            Self::Token => "token",
        }
    }
}

impl DialFault {
    /// At which step of a dial it comes.
    #[must_use]
    pub const fn stage(self) -> DialStage {
        match self {
            Self::NameUnknown
            | Self::NameWithoutAddress
            | Self::NameUnanswered
            | Self::NameFailed => DialStage::Resolve,
            Self::ConnectRefused
            | Self::NoRoute
            | Self::ConnectTimeout
            | Self::ConnectFailed
            | Self::OutOfDescriptors => DialStage::Connect,
            Self::ProxyUnusable
            | Self::ProxyUnreachable
            | Self::ProxyUnanswered
            | Self::ProxyCredentials
            | Self::ProxyRefused
            | Self::ProxyFailed => DialStage::Proxy,
            Self::CertificateExpired
            | Self::CertificateEarly
            | Self::CertificateName
            | Self::CertificateUntrusted
            | Self::CertificateUnfit
            | Self::NoTls
            | Self::TlsFailed
            | Self::TlsTimeout => DialStage::Tls,
            Self::Redirected
            | Self::RefusedOnTheWay
            | Self::Gateway
            | Self::Busy
            | Self::NoWebsocket
            | Self::SpeaksTls
            | Self::NoHttp
            | Self::ClosedUnanswered
            | Self::Unanswered
            | Self::ServerBusy => DialStage::Upgrade,
            Self::TokenMissing
            | Self::TokenUnfit
            | Self::TokenUnanswered
            | Self::TokenRefused
            | Self::TokenExpired
            | Self::TokenWrongKind
            | Self::TokenUnknown
            | Self::SentAway => DialStage::Token,
        }
    }

    /// What is known from the failure alone.
    #[must_use]
    pub const fn of(failure: DialFailure) -> Self {
        match failure {
            DialFailure::Unreachable => Self::ConnectFailed,
            DialFailure::TimedOut => Self::Unanswered,
            DialFailure::NoToken => Self::TokenMissing,
            DialFailure::Tls => Self::TlsFailed,
            DialFailure::NotAServer(0) => Self::NoHttp,
            DialFailure::NotAServer(300..=399) => Self::Redirected,
            DialFailure::NotAServer(401 | 403) => Self::RefusedOnTheWay,
            DialFailure::NotAServer(407) => Self::ProxyCredentials,
            DialFailure::NotAServer(502 | 504) => Self::Gateway,
            DialFailure::NotAServer(_) => Self::NoWebsocket,
            DialFailure::Unauthorized => Self::TokenRefused,
            DialFailure::Forbidden => Self::SentAway,
            DialFailure::Busy { .. } => Self::Busy,
        }
    }
}

impl fmt::Display for DialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn each_fault_has_an_id_and_a_sentence_of_its_own() {
        let ids: BTreeSet<_> = DialFault::ALL.iter().map(|fault| fault.as_str()).collect();
        let sentences: BTreeSet<_> = DialFault::ALL.iter().map(|fault| fault.what()).collect();
        assert_eq!((ids.len(), sentences.len()), (DialFault::ALL.len(), DialFault::ALL.len()));
        for fault in DialFault::ALL {
            let json = serde_json::to_string(fault).unwrap();
            assert_eq!(json, alloc::format!("\"{}\"", fault.as_str()));
            assert_eq!(DialFault::parse(fault.as_str()), Some(*fault));
        }
    }
}
