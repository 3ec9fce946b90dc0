//! For whoever works on the dashboard: its files from a folder, and a page that reloads when one changes.

use std::path::Path;
use std::time::UNIX_EPOCH;

use bytes::Bytes;

/// The script that a page served from a folder gets besides its own, and the route that it asks.
pub const SCRIPT: &str = "dev.js";
pub const VERSION: &str = "dev-version";
const SCRIPT_TEXT: &str = "let seen;\nsetInterval(async () => {\n  const now = await fetch('/dev-version').then(r => r.text(), \
                           () => seen);\n  if (seen !== undefined && now !== seen) location.reload();\n  seen = \
                           now;\n}, 500);\n";

/// A file of the folder, the reloading script, or the folder's version; `None` when there is no such thing.
pub fn read(folder: &Path, name: &str) -> Option<Bytes> {
    match name {
        SCRIPT => return Some(Bytes::from_static(SCRIPT_TEXT.as_bytes())),
        VERSION => return Some(version(folder).to_string().into()),
        _ => {}
    }
    let content = std::fs::read(folder.join(name)).ok()?;
    if name == "index.html" {
        let page = String::from_utf8_lossy(&content);
        return Some(page.replace("</head>", "<script type=\"module\" src=\"dev.js\"></script></head>").into());
    }
    Some(content.into())
}

/// When a file of the folder was last changed, in ms since 1970.
fn version(folder: &Path) -> u128 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let changed = files.filter_map(|file| file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok());
    changed.map(|since| since.as_millis()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_as_they_are_now() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "<head></head>").unwrap();
        std::fs::write(folder.path().join("app.js"), "1").unwrap();
        assert_eq!(read(folder.path(), "app.js").unwrap(), "1");
        assert!(read(folder.path(), "index.html").unwrap().starts_with(b"<head><script"));
        assert!(read(folder.path(), SCRIPT).unwrap().len() > 100);
        assert_eq!(read(folder.path(), "nothing"), None);
        let before = read(folder.path(), VERSION);
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::fs::write(folder.path().join("app.js"), "2").unwrap();
        assert_ne!(read(folder.path(), VERSION), before);
    }
}
