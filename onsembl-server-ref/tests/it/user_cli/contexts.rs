//! `login`, `logout` and `context`.

use super::Desk;
use onsembl_server_ref::auth::TokenKind;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn who_has_logged_in_names_no_server_any_more() {
    let desk = Desk::new().await;
    let said = desk.run(&["agents"]).await;
    assert!(said.code == Some(2) && said.err.contains("onsembl login URL"), "{said:?}");
    let token = desk.world.token("ann", TokenKind::Dashboard);
    let said = desk.fed(&["login", &desk.url()], &token).await.ok();
    assert!(said.contains("as ann") && said.contains("127.0.0.1-"), "{said}");
    assert!(!said.contains(&token));
    let listed = desk.run(&["agents", "-o", "json"]).await.json();
    assert_eq!(listed["total"], 0);
    let shown = desk.run(&["context", "show", "-o", "json"]).await.json();
    assert_eq!((&shown["server"], &shown["current"]), (&desk.url().into(), &true.into()));
    let file = Path::new(shown["token_file"].as_str().unwrap());
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&file.parent().unwrap().join("context.toml")), 0o600);
    // A token that was renewed where it lies is used from then on.
    fs::write(file, "nonsense\n").unwrap();
    let said = desk.run(&["agents"]).await;
    assert!(said.code == Some(1) && said.err.contains("401"), "{said:?}");
    let name = desk.run(&["context", "show", "-o", "name"]).await.ok();
    let _ = desk.run(&["logout"]).await.ok();
    assert!(!file.exists());
    let said = desk.run(&["--context", name.trim(), "agents"]).await;
    assert!(said.code != Some(0) && said.err.contains("there is no context"), "{said:?}");
}

#[tokio::test]
async fn a_token_that_the_server_does_not_take_is_not_stored() {
    let desk = Desk::new().await;
    let agents = desk.world.token("ann", TokenKind::Agent);
    for (token, why) in [("nonsense", "401"), ("", "invalid token"), (agents.as_str(), "agent")] {
        let said = desk.fed(&["login", &desk.url()], token).await;
        assert!(said.code == Some(1) && said.err.contains(why), "{said:?}");
    }
    let said = desk.fed(&["login", "http://127.0.0.1:9"], "x").await;
    assert!(said.code == Some(1) && said.err.contains("cannot reach"), "{said:?}");
    assert_eq!(desk.run(&["context", "list", "-o", "json"]).await.json()["total"], 0);
    assert!(!desk.config.path().join("contexts").exists());
}

#[tokio::test]
async fn contexts_are_chosen_and_flags_go_before_them() {
    let (one, two) = (Desk::of_ann().await, Desk::new().await);
    let token = two.world.token("bob", TokenKind::Dashboard);
    let file = two.config.path().join("token");
    fs::write(&file, &token).unwrap();
    let mut login = one.command(&["login", &two.url(), "--context", "two"]);
    let said = super::ended(login.arg("--token-file").arg(&file)).await.ok();
    assert!(said.contains("as bob"), "{said}");
    drop(one.agent("anns", 0).await);
    let names = async |arguments: &[&str]| {
        one.run(&[arguments, &["agents", "-o", "name"]].concat()).await.ok()
    };
    let listed = one.run(&["context", "list", "-o", "jsonl"]).await.ok();
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let first = listed.lines().find(|line| !line.contains("\"two\"")).unwrap();
    let first: serde_json::Value = serde_json::from_str(first).unwrap();
    let first = first["name"].as_str().unwrap();
    assert_eq!(names(&[]).await, "", "bob has none, and was the last to log in");
    assert_eq!(names(&["--context", first]).await, "anns\n");
    let _ = one.run(&["context", "use", first]).await.ok();
    assert_eq!(names(&[]).await, "anns\n");
    let mut by_variable = one.command(&["agents", "-o", "name"]);
    let said = super::ended(by_variable.env("ONSEMBL_CONTEXT", "two")).await;
    assert_eq!(said.ok(), "");
    // The token of one server is never shown to another.
    let said = one.run(&["agents", "--server", &two.url()]).await;
    assert!(said.code == Some(2) && said.err.contains("--token-file"), "{said:?}");
    let mut given = one.command(&["agents", "-o", "name", "--server", &two.url()]);
    assert_eq!(super::ended(given.arg("--token-file").arg(&file)).await.ok(), "");
}

#[tokio::test]
async fn the_old_spellings_do_the_same() {
    let desk = Desk::of_ann().await;
    let _agent = desk.agent("mine", 3).await;
    for arguments in [&["agents", "-o", "name"][..], &["commands", "--json"], &["why", "--all"]] {
        let (new, old) = (desk.run(arguments).await, desk.operate(arguments).await);
        assert_eq!((new.code, new.out), (old.code, old.out), "{arguments:?}");
    }
    let said = desk.operate(&["exec", "mine", "--", "true"]).await;
    assert_eq!((said.code, said.out.lines().next()), (Some(3), Some("ran true")), "{}", said.err);
    let help = desk.operate(&["--help"]).await.ok();
    assert!(help.contains("serve") && help.contains("work here too"), "{help}");
}
