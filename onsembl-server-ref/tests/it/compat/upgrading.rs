//! docs/UPGRADING.md says which versions go together: that it names what the tests here keep.

use std::path::Path;

#[test]
fn the_page_about_upgrades_names_what_is_tested() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // A packaged crate has no such page.
    let Ok(page) = std::fs::read_to_string(top.join("docs/UPGRADING.md")) else { return };
    let migrations = top.join("onsembl-server-ref/src/store/migrations");
    let newest = std::fs::read_dir(migrations).unwrap().count();
    assert!(page.contains(&format!("(schema {newest})")), "the newest schema is {newest}");
    let recorded =
        std::fs::read_to_string(top.join("onsembl-server-ref/tests/compat/README.md")).unwrap();
    let versions = recorded.match_indices("(version ").map(|(at, word)| {
        let rest = &recorded[at + word.len()..];
        rest.split([',', ')']).next().unwrap().to_owned()
    });
    let versions: Vec<String> = versions.collect();
    assert!(!versions.is_empty());
    for version in versions {
        assert!(
            page.contains(&format!("server {version}")),
            "{version} is recorded and not in the table"
        );
    }
    let files = page.split('`').filter(|word| word.ends_with(".rs") && word.contains('/'));
    let files: Vec<&str> = files.collect();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        assert!(top.join(file).is_file(), "{file} is named and not there");
    }
}
