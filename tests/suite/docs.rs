//! Documents that cannot rot: what they name exists, what they list is what the program says, and the
//! crates import one another as ARCHITECTURE.md says.

use std::path::{Path, PathBuf};

use crate::commands_of_docs::{path, read, root};
use crate::harness::{Server, logboom, without_settings};

/// Files below a folder whose name ends so; build output left out.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !["target", "node_modules", "data", ".git"].contains(&name.as_str()) {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

/// What stands between backticks outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("\n```").step_by(2).collect();
    prose.iter().flat_map(|part| part.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

fn is_path(text: &str) -> bool {
    const ENDINGS: [&str; 9] = [".rs", ".md", ".toml", ".sql", ".py", ".js", ".css", ".html", ".yml"];
    /// Made at run time, or by whoever uses the program.
    const OTHERS: [&str; 5] = ["data/", "./data", "target/", "logboom.toml", "<data"];
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
    plain
        && !text.starts_with('/')
        && !OTHERS.iter().any(|other| text.starts_with(other))
        && (ENDINGS.iter().any(|ending| text.ends_with(ending) && text.len() > ending.len()) || text.ends_with('/'))
}

#[test]
fn paths_that_documents_name_exist() {
    let mut documents = Vec::new();
    files(root(), ".md", &mut documents);
    assert!(documents.len() >= 8, "{documents:?}");
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).map(str::to_owned);
        let links = links.filter(|link| !link.is_empty() && !link.contains("://"));
        for path in quoted(&text).into_iter().filter(|text| is_path(text)).chain(links) {
            let beside = document.parent().unwrap_or(root()).join(&path);
            let exists = beside.exists() || root().join(&path).exists();
            assert!(exists, "{} names {path}, which is not there", document.display());
        }
    }
}

#[test]
fn figures_are_those_of_the_newest_runs() {
    let runs = loadgen::figures::newest(&root().join("results")).unwrap();
    for (document, what) in loadgen::figures::DOCUMENTS {
        let expected = loadgen::figures::rewritten(root(), document, what, &runs).unwrap();
        assert!(
            read(document) == expected,
            "{document} shows other figures than results/ has: `make figures` writes them"
        );
    }
}

#[test]
fn the_settings_page_lists_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = logboom(folder.path()).args(["config", "--markdown"]).output().unwrap();
    let tables = String::from_utf8(out.stdout).unwrap();
    let page = read("docs/CONFIGURATION.md");
    assert!(page.contains(&tables), "docs/CONFIGURATION.md is not what the program says: run `make docs`");
}

/// The crates that a crate's manifest names, tests aside.
fn dependencies(manifest: &str) -> Vec<String> {
    let text = read(manifest);
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn imports_run_one_way() {
    const OURS: [&str; 4] = ["record", "engine", "api", "loadgen"];
    for (manifest, allowed) in [
        ("record/Cargo.toml", &[][..]),
        ("engine/Cargo.toml", &["record"]),
        ("api/Cargo.toml", &["engine", "record"]),
        ("loadgen/Cargo.toml", &["engine", "record"]),
    ] {
        let named = dependencies(manifest);
        let wrong: Vec<_> =
            named.iter().filter(|name| OURS.contains(&name.as_str()) && !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{manifest} imports {wrong:?}");
        let glommio = named.iter().any(|name| name == "glommio");
        assert_eq!(glommio, manifest == "engine/Cargo.toml", "only engine names glommio: {manifest}");
        for runtime in ["tokio", "glommio", "rayon"] {
            assert!(manifest != "record/Cargo.toml" || !named.iter().any(|name| name == runtime), "record does no I/O");
        }
    }
    assert!(!dependencies("Cargo.toml").iter().any(|name| name == "glommio"), "only engine names glommio");
}

#[test]
fn stages_of_the_engine_do_not_know_each_other() {
    for (stage, forbidden) in [
        ("engine/src/http", &["ingest", "queue", "store", "shard", "engine", "relay", "tail"][..]),
        ("engine/src/queue", &["http", "ingest", "store", "shard", "engine", "relay", "tail"]),
        ("engine/src/store", &["http", "ingest", "queue::local", "shard", "engine", "relay", "tail"]),
    ] {
        let mut sources = Vec::new();
        files(&root().join(stage), ".rs", &mut sources);
        assert!(!sources.is_empty(), "{stage}");
        // The live tail crosses processes by Redis: that is where the two meet.
        for source in sources.iter().filter(|source| !is_watch(source)) {
            let text = std::fs::read_to_string(source).unwrap();
            // A comment may point at its neighbour.
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let text = code.join("\n");
            for name in forbidden {
                let import = format!("crate::{name}");
                let named = text.match_indices(&import).any(|(at, _)| {
                    !text[at + import.len()..].starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_')
                });
                assert!(!named, "{} names {import}", source.display());
            }
        }
    }
}

fn is_watch(source: &Path) -> bool {
    let path = source.to_string_lossy();
    path.contains("queue/redis/watch") || path.ends_with("queue/redis/tests/watch.rs")
}

/// Each with all that is written behind it; what it would do is done in `commands_of_docs`.
#[test]
fn commands_that_documents_name_are_there() {
    // `make` tells what it would run; cargo would build.
    const ASKED: &str = "logboom() { command logboom \"$@\" --help > /dev/null; }; make() { command make -n \"$@\"; }; cargo() { :; }; pgrep() { echo 1; }";
    let mut documents = Vec::new();
    files(root(), ".md", &mut documents);
    for document in documents.iter().filter(|document| !document.ends_with("CHANGELOG.md")) {
        let text = std::fs::read_to_string(document).unwrap();
        let measures = document.ends_with("docs/PERFORMANCE_RESULTS.md");
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()).filter(|_| measures);
        let quoted = quoted(&text).into_iter().map(|text| text.replace('\n', " ").replace("SCENARIO", "all"));
        let is_ours = |text: &String| ["logboom ", "make "].iter().any(|name| text.starts_with(name));
        for line in blocks.map(|block| block.replace("target/release/", "")).chain(quoted.filter(is_ours)) {
            let mut command = without_settings("bash", root());
            let out = command.args(["-euc", &format!("{ASKED}\n{line}")]).env("PATH", path()).output().unwrap();
            let told = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{} names `{line}`: {told}", document.display());
        }
    }
}

/// The table of docs/API.md, name by name.
#[test]
fn the_metrics_page_is_documented() {
    let page = Server::start().get("/metrics").text();
    let mut told: std::collections::BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE logboom_"))
        .filter_map(|rest| rest.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    // Told once there is something to tell.
    told.extend(["rejects_total", "failures_total", "requests_total"].map(str::to_owned));
    let document = read("docs/API.md");
    let table =
        document.split("## How it is doing").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a part");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let listed: std::collections::BTreeSet<String> = rows
        .flat_map(|row| quoted(row.split('|').nth(1).unwrap_or_default()))
        .map(|name| name.split('{').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(told, listed);
}
