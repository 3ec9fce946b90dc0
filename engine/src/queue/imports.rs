//! Which batches out of Redis the local log has: what is delivered twice is stored once.
//!
//! The log itself knows the newest ones. Before it gives segments back, the ids in them are written to a file, so that a
//! restart knows them still: the newest [`KNOWN_MAX`], which are the batches of hours.
//!
//! The file: `LBI`, version 1, then ids of 16 bytes, oldest first, and the CRC32C of all before.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use record::{Batch, Id};

/// Ids that are remembered: 100,000 batches of a megabyte of logs each, or of as many lone requests.
const KNOWN_MAX: usize = 100_000;
const MAGIC: [u8; 4] = *b"LBI\x01";
const NAME: &str = "imported";

pub struct Imports {
    dir: PathBuf,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    set: HashSet<Id>,
    order: VecDeque<Id>,
    /// Ids were added that the file does not have.
    is_ahead: bool,
}

impl Known {
    fn add(&mut self, id: Id) {
        if self.set.insert(id) {
            self.order.push_back(id);
            self.is_ahead = true;
        }
        if self.order.len() > KNOWN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

impl Imports {
    /// Reads the file in `dir`. What cannot be read of it is an error: without it batches could be stored twice.
    pub fn open(dir: &Path) -> io::Result<Imports> {
        let mut known = Known::default();
        match std::fs::read(dir.join(NAME)) {
            Ok(bytes) => parse(&bytes)?.for_each(|id| known.add(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Imports { dir: dir.to_owned(), known: Mutex::new(known) })
    }

    /// The log has these batches.
    pub fn add(&self, batches: &[Batch]) {
        let mut known = self.lock();
        batches.iter().for_each(|batch| known.add(batch.id()));
    }

    pub fn has(&self, batch: &Batch) -> bool {
        self.lock().set.contains(&batch.id())
    }

    /// Makes all that is known last. Called before the log forgets.
    pub fn write(&self) -> io::Result<()> {
        let ids = {
            let mut known = self.lock();
            if !std::mem::take(&mut known.is_ahead) {
                return Ok(());
            }
            known.order.iter().copied().collect::<Vec<_>>()
        };
        let mut bytes = MAGIC.to_vec();
        ids.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let beside = self.dir.join(format!("{NAME}.new"));
        let written = File::create(&beside)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()))
            .and_then(|()| std::fs::rename(&beside, self.dir.join(NAME)))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        if written.is_err() {
            self.lock().is_ahead = true;
        }
        written
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(bytes: &[u8]) -> io::Result<impl Iterator<Item = Id>> {
    let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, format!("the file `{NAME}` {why}")));
    let Some((content, crc)) = bytes.split_last_chunk::<4>() else { return wrong("is cut") };
    if content.first_chunk::<4>() != Some(&MAGIC) {
        return wrong("is of another version: run a newer logboom");
    }
    if crc32c::crc32c(content).to_le_bytes() != *crc || !(content.len() - MAGIC.len()).is_multiple_of(16) {
        return wrong("is damaged: once Redis is drained it can be removed");
    }
    Ok(content[MAGIC.len()..].as_chunks::<16>().0.iter().map(|id| Id::from_bytes(*id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::local::tests::Batches;

    #[test]
    fn what_was_written_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut batches = Batches::new();
        let (one, other) = (batches.make(1), batches.make(1));
        let imports = Imports::open(dir.path()).unwrap();
        imports.add(std::slice::from_ref(&one));
        imports.write().unwrap();
        imports.write().unwrap();
        let again = Imports::open(dir.path()).unwrap();
        assert!(again.has(&one) && !again.has(&other));
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_broken_file_is_refused() {
        let mut known = Known::default();
        for number in 0..KNOWN_MAX as u128 + 5 {
            known.add(Id::from_bytes(number.to_be_bytes()));
        }
        assert_eq!((known.set.len(), known.order.len()), (KNOWN_MAX, KNOWN_MAX));
        assert!(!known.set.contains(&Id::from_bytes(4_u128.to_be_bytes())));
        let dir = tempfile::tempdir().unwrap();
        for broken in [&b""[..], b"LBI\x01abcd", b"LBI\x02\0\0\0\0", b"LBI\x01x\0\0\0\0"] {
            std::fs::write(dir.path().join(NAME), broken).unwrap();
            assert!(Imports::open(dir.path()).is_err(), "{broken:?}");
        }
    }
}
