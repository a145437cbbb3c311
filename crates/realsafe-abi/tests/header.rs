//! `realsafe_plugin.h` is what cbindgen makes of the crate.

use std::path::Path;

const SOURCE: &str = include_str!("../src/lib.rs");

/// Documentation without the link brackets of rustdoc, and with the names of C.
fn plain(text: &str) -> String {
    let entry = realsafe_abi::REALSAFE_ENTRY;
    let text = text.replace("[`", "`").replace("`]", "`");
    text.replace("`EntryFunction`", "`RealsafeEntryFunction`").replace("REALSAFE_ENTRY", entry)
}

/// The crate's own documentation as a C comment.
fn introduction() -> String {
    let lines = SOURCE.lines().map_while(|line| line.strip_prefix("//!"));
    let comment: String = lines.map(|line| format!(" *{}\n", line.replace("[`", "`").replace("`]", "`"))).collect();
    format!("/*\n{comment} *\n * Generated from crates/realsafe-abi/src/lib.rs; not to be edited by hand.\n */")
}

fn generate(directory: &Path) -> String {
    let mut config = cbindgen::Config::from_file(directory.join("cbindgen.toml")).unwrap();
    config.header = Some(introduction());
    let builder = cbindgen::Builder::new().with_src(directory.join("src/lib.rs")).with_config(config);
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    plain(&String::from_utf8(header).unwrap())
}

#[test]
fn the_header_is_fresh() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = directory.join("realsafe_plugin.h");
    let fresh = generate(directory);
    if std::env::var_os("REALSAFE_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap();
    assert!(stored == fresh, "realsafe_plugin.h is stale; run the test with REALSAFE_UPDATE_HEADER=1");
}
