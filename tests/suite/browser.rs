//! The dashboard in a real Chromium, driven by the scripts of `tests/browser/`, which start the real binary themselves.
//!
//! `make tools` installs what they need of the system, `make browser-modules` what they need of npm. A file is a test, so
//! that they run beside one another.

use std::path::Path;
use std::process::Command;

use crate::harness::BINARY;

fn run(file: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new("make").args(["-s", "browser-modules"]).current_dir(root).output().expect("make");
    assert!(made.status.success(), "`make browser-modules` failed: {}", String::from_utf8_lossy(&made.stderr));
    let mut node = Command::new("node");
    node.args(["--test", file]).current_dir(root.join("tests/browser")).env("LOGBOOM_BINARY", BINARY);
    let out = node.output().expect("node: `make tools` installs it");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}

#[test]
fn searching_and_reading() {
    run("find.test.mjs");
}

#[test]
fn watching_keeping_sharing() {
    run("live.test.mjs");
}

#[test]
fn looks() {
    run("looks.test.mjs");
}

#[test]
fn hostile_text_and_other_pages() {
    run("pages.test.mjs");
}
