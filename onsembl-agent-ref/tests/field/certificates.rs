//! Certificates with the faults that occur in the field. Each agent has a session and a running command when its
//! server gets the bad certificate. The command keeps running, the agent reports the fault of the certificate, and
//! it reconnects once there is a good one.

use crate::Case;
use crate::bench::{Bench, FAST, Running};
use crate::relay::Relay;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub const CASES: &[Case] = &[
    Case { name: "certificates/expired", needs: &[], run: || fault("expired on", expired) },
    Case {
        name: "certificates/not-yet-valid",
        needs: &[],
        run: || fault("not valid before", early),
    },
    Case {
        name: "certificates/wrong-name",
        needs: &[],
        run: || fault("is for other.test, and not for", misnamed),
    },
    Case { name: "certificates/no-name", needs: &[], run: || fault("has no host", nameless) },
    Case {
        name: "certificates/unknown-issuer",
        needs: &[],
        run: || fault("its chain leads to", strange),
    },
    Case {
        name: "certificates/self-signed",
        needs: &[],
        run: || fault("is self-signed", self_signed),
    },
    Case {
        name: "certificates/no-intermediate",
        needs: &[],
        run: || fault("without an intermediate certificate", headless),
    },
    Case {
        name: "certificates/for-clients-only",
        needs: &[],
        run: || fault("not a server certificate", for_clients),
    },
    Case {
        name: "certificates/of-a-ca",
        needs: &[],
        run: || fault("is a CA certificate", of_a_ca),
    },
    Case { name: "certificates/plain-http", needs: &[], run: plain_http },
    Case { name: "certificates/key-of-another", needs: &[], run: key_of_another },
];

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// The authority that issues the good certificates.
pub struct Authority {
    pub root: Issuer,
    between: Issuer,
}

impl Authority {
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca("Root"), KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let between = CertifiedIssuer::signed_by(ca("Between"), key, &root).unwrap();
        Self { root, between }
    }
}

fn ca(name: &str) -> CertificateParams {
    let mut params = named(&[], name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(hosts: &[&str], name: &str) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn server() -> CertificateParams {
    named(&["localhost"], "localhost")
}

/// The chain and the key of a server, as PEM.
pub struct Pair {
    chain: String,
    key: String,
}

impl Pair {
    /// Signed by `issuer`, followed by `behind` in the chain.
    fn signed(params: &CertificateParams, issuer: &Issuer, behind: &[&Issuer]) -> Self {
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, issuer).unwrap().pem();
        let chain = behind.iter().fold(own, |chain, other| chain + &other.pem());
        Self { chain, key: key.serialize_pem() }
    }

    fn good(authority: &Authority) -> Self {
        Self::signed(&server(), &authority.between, &[&authority.between])
    }

    /// As it is while people use it: made a month ago, for another month.
    pub fn dated(authority: &Authority) -> Self {
        let month = Duration::from_secs(30 * 24 * 3600);
        let mut params = server();
        params.not_before = (SystemTime::now() - month).into();
        params.not_after = (SystemTime::now() + month).into();
        whole(&params, authority)
    }

    pub fn put(&self, folder: &Path) -> [PathBuf; 2] {
        let files = ["cert.pem", "key.pem"].map(|name| folder.join(name));
        std::fs::write(&files[0], &self.chain).unwrap();
        std::fs::write(&files[1], &self.key).unwrap();
        files
    }
}

fn whole(params: &CertificateParams, authority: &Authority) -> Pair {
    Pair::signed(params, &authority.between, &[&authority.between])
}

fn expired(authority: &Authority) -> Pair {
    let mut params = server();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    whole(&params, authority)
}

fn early(authority: &Authority) -> Pair {
    let mut params = server();
    params.not_before = date_time_ymd(2090, 1, 1);
    params.not_after = date_time_ymd(2091, 1, 1);
    whole(&params, authority)
}

fn misnamed(authority: &Authority) -> Pair {
    whole(&named(&["other.test"], "localhost"), authority)
}

/// The form of certificates before names moved out of the subject.
fn nameless(authority: &Authority) -> Pair {
    whole(&named(&[], "localhost"), authority)
}

pub fn strange(_: &Authority) -> Pair {
    let key = KeyPair::generate().unwrap();
    let other = CertifiedIssuer::self_signed(ca("Somebody else"), key).unwrap();
    Pair::signed(&server(), &other, &[&other])
}

fn self_signed(_: &Authority) -> Pair {
    let key = KeyPair::generate().unwrap();
    Pair { chain: server().self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

fn headless(authority: &Authority) -> Pair {
    Pair::signed(&server(), &authority.between, &[])
}

fn for_clients(authority: &Authority) -> Pair {
    let mut params = server();
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    whole(&params, authority)
}

fn of_a_ca(authority: &Authority) -> Pair {
    let mut params = server();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    whole(&params, authority)
}

/// A server with a good certificate, and an agent in session that trusts its root and has work.
struct Scene {
    bench: Bench,
    relay: Relay,
    agent: Running,
    work: crate::site::Work,
    authority: Authority,
    files: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let [cert, key] = Pair::good(&authority).put(files.path()).map(|p| p.display().to_string());
        let root = files.path().join("root.pem");
        std::fs::write(&root, authority.root.pem()).unwrap();
        let mut bench = Bench::with(FAST, &["--tls-cert", &cert, "--tls-key", &key]);
        bench.scheme = "https";
        let relay = Relay::to(&bench.address);
        bench.address = format!("localhost:{}", bench.address.rsplit_once(':').unwrap().1);
        // Each client that the bench runs is a process of its own and trusts it too.
        let port = relay.address.rsplit_once(':').unwrap().1.to_owned();
        let mut agent = bench.agent_at(&format!("wss://localhost:{port}"), "dev");
        let agent = Running(agent.env("ONSEMBL_TLS_CA", &root).spawn().unwrap());
        bench.tls_ca = Some(root);
        let _ = bench.await_status("dev", "online");
        let work = bench.start_work("dev");
        Self { bench, relay, agent, work, authority, files }
    }

    fn serve(&self, pair: &Pair) {
        let before = self.bench.log("server.log").matches("was reloaded").count();
        let _ = pair.put(self.files.path());
        self.bench.server().signal("-HUP");
        crate::bench::eventually("the server has the other certificate", || {
            self.bench.log("server.log").matches("was reloaded").count() > before
        });
    }

    fn ends_well(mut self) {
        let _ = self.bench.await_status("dev", "online");
        self.work.goes_on();
        let _ = self.work.ends_whole();
        assert!(self.agent.0.try_wait().unwrap().is_none());
    }
}

fn fault(why: &str, bad: fn(&Authority) -> Pair) {
    let scene = Scene::new();
    scene.serve(&bad(&scene.authority));
    scene.relay.cut();
    scene.bench.tells_why("dev", why);
    scene.work.goes_on();
    scene.serve(&Pair::good(&scene.authority));
    scene.ends_well();
}

/// The proxy that terminated TLS is gone, or the wrong port is used.
fn plain_http() {
    let scene = Scene::new();
    let plain = Bench::start();
    scene.relay.point_to(&plain.address);
    scene.relay.cut();
    scene.bench.tells_why("dev", "does not speak TLS");
    scene.work.goes_on();
    scene.relay.point_to(&scene.bench.address);
    scene.ends_well();
}

/// A renewal that is incomplete: the pair in use stays in use, and the server names the files.
fn key_of_another() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(scene.files.path().join("key.pem"), key).unwrap();
    scene.bench.server().signal("-HUP");
    crate::bench::eventually("the server reports it", || {
        let log = scene.bench.log("server.log");
        log.contains("the new certificate is unusable") && log.contains("key.pem")
    });
    scene.relay.cut();
    scene.ends_well();
}
