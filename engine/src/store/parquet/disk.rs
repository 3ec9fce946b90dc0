//! The steps by which files come and go, each durable before the next one relies on it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Called before each step with its name: a test makes it fail there, as a full disk or a crash would.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(&'static str) -> io::Result<()> + Send + Sync>>);

impl Steps {
    #[cfg(test)]
    pub fn new(step: impl Fn(&'static str) -> io::Result<()> + Send + Sync + 'static) -> Steps {
        Steps(Some(Arc::new(step)))
    }

    pub fn reach(&self, step: &'static str) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |reached| reached(step))
    }
}

impl std::fmt::Debug for Steps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Steps")
    }
}

/// Makes a folder's entries durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Takes up room that a full disk would not give: see [`Reserve`].
const RESERVE_NAME: &str = "reserve";
/// More than a manifest takes, with tens of thousands of files.
const RESERVE_BYTES: usize = 4 << 20;

/// Room set aside on the disk, for the manifest: so that on a full disk retention can still let files go.
pub struct Reserve {
    path: std::path::PathBuf,
}

impl Reserve {
    /// Takes it up, unless there is none to take: then a full disk is just full.
    pub fn take(dir: &Path) -> Reserve {
        let reserve = Reserve { path: dir.join(RESERVE_NAME) };
        let is_whole = std::fs::metadata(&reserve.path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        if !is_whole && std::fs::write(&reserve.path, vec![0; RESERVE_BYTES]).is_err() {
            reserve.give_up();
        }
        reserve
    }

    /// Gives it back to the disk; whether there was any.
    pub fn give_up(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }
}

/// A replacement that failed.
#[derive(Debug)]
pub struct ReplaceError {
    pub error: io::Error,
    /// Whether the new content is there already, and only not yet certain to outlive a crash.
    pub replaced: bool,
}

/// Replaces `dir/name`: after a crash it has either its old content or the new.
pub fn replace_file(dir: &Path, name: &str, content: &[u8], steps: &Steps) -> Result<(), ReplaceError> {
    let replace = || {
        let temporary = dir.join(format!("{name}.new"));
        steps.reach("write the manifest")?;
        let mut file = File::create(&temporary)?;
        io::Write::write_all(&mut file, content)?;
        steps.reach("sync the manifest")?;
        file.sync_all()?;
        steps.reach("rename the manifest")?;
        std::fs::rename(&temporary, dir.join(name))
    };
    replace().map_err(|error| ReplaceError { error, replaced: false })?;
    let sync = || {
        steps.reach("sync the folder of the manifest")?;
        sync_dir(dir)
    };
    sync().map_err(|error| ReplaceError { error, replaced: true })
}
