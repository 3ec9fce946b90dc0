//! A disk in memory that forgets what was not synced, cuts writes short, fills up and fails.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;

use futures_lite::future::poll_once;

use crate::queue::local::file::{Disk, LogFile};

/// A crash keeps or loses blocks of this size, each by itself.
const BLOCK: usize = 512;

/// What happens to the next call that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A write puts down this many 512-byte blocks and says so.
    ShortWrite(usize),
    WriteFails,
    SyncFails,
    /// A write goes on for ever: its caller gives up.
    WriteStalls,
}

#[derive(Clone, Debug, Default)]
struct Content {
    durable: Vec<u8>,
    /// With the writes that were not synced.
    current: Vec<u8>,
    /// Where they went.
    unsynced: Vec<(usize, usize)>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// The names as they were after each change since they last were synced; the first is what was synced.
    names_since_sync: Vec<BTreeMap<String, usize>>,
    fault: Option<Fault>,
    bytes_max: usize,
}

#[derive(Clone, Default)]
pub struct MemoryDisk(Rc<RefCell<State>>);

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        let disk = MemoryDisk::default();
        disk.0.borrow_mut().names_since_sync.push(BTreeMap::new());
        disk.set_bytes_max(usize::MAX);
        disk
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        self.0.borrow_mut().fault = fault;
    }

    pub fn set_bytes_max(&self, bytes: usize) {
        self.0.borrow_mut().bytes_max = bytes;
    }

    /// Bytes of all files that have a name.
    pub fn bytes(&self) -> usize {
        self.0.borrow().named_bytes()
    }

    pub fn file_count(&self) -> usize {
        self.0.borrow().names.len()
    }

    /// The program ends; the kernel goes on and writes everything in time.
    pub fn kill(&self) {
        let mut state = self.0.borrow_mut();
        for file in &mut state.files {
            file.settle(&mut || true);
        }
        state.names_since_sync = vec![state.names.clone()];
    }

    /// The power fails: `chance` says of each unsynced block whether it got there, and how many changes of names did.
    pub fn lose_power(&self, chance: &mut dyn FnMut() -> bool) {
        let mut state = self.0.borrow_mut();
        for file in &mut state.files {
            file.settle(chance);
        }
        let mut kept = 0;
        while kept + 1 < state.names_since_sync.len() && chance() {
            kept += 1;
        }
        state.names = state.names_since_sync.swap_remove(kept);
        state.names_since_sync = vec![state.names.clone()];
    }

    /// Puts the files into a real folder.
    pub fn dump(&self, dir: &Path) {
        let state = self.0.borrow();
        for (name, &file) in &state.names {
            std::fs::write(dir.join(name), &state.files[file].current).expect("written");
        }
    }
}

impl Content {
    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[at..end].copy_from_slice(bytes);
        self.unsynced.push((at, end));
    }

    /// Ends the doubt about unsynced blocks.
    fn settle(&mut self, keep: &mut dyn FnMut() -> bool) {
        for (start, end) in std::mem::take(&mut self.unsynced) {
            for block in (start..end).step_by(BLOCK) {
                let until = (block + BLOCK).min(end);
                if keep() {
                    if self.durable.len() < until {
                        self.durable.resize(until, 0);
                    }
                    self.durable[block..until].copy_from_slice(&self.current[block..until]);
                }
            }
        }
        self.current = self.durable.clone();
    }
}

impl State {
    fn named_bytes(&self) -> usize {
        self.names.values().map(|&file| self.files[file].current.len()).sum()
    }

    fn names_changed(&mut self) {
        let names = self.names.clone();
        self.names_since_sync.push(names);
    }

    fn take_fault(&mut self, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let fault = self.fault.filter(|&fault| fits(fault))?;
        self.fault = None;
        Some(fault)
    }
}

pub struct MemoryFile {
    disk: Rc<RefCell<State>>,
    file: usize,
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    async fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let mut state = self.0.borrow_mut();
        let file = match state.names.get(name) {
            Some(&file) => file,
            None => {
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.names.insert(name.to_owned(), file);
                state.names_changed();
                file
            }
        };
        Ok(MemoryFile { disk: self.0.clone(), file })
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.names_changed();
        Ok(())
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.names_changed();
        Ok(())
    }

    async fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.names_since_sync = vec![state.names.clone()];
        Ok(())
    }

    fn spawn(&self, work: impl Future<Output = ()> + 'static) {
        // Nothing here waits but a write that stalls, and that never ends.
        let _ = futures_lite::future::block_on(poll_once(Box::pin(work)));
    }
}

impl LogFile for MemoryFile {
    async fn bytes(&self) -> io::Result<u64> {
        Ok(self.disk.borrow().files[self.file].current.len() as u64)
    }

    async fn write_at(&self, at: u64, bytes: usize, fill: &dyn Fn(&mut [u8])) -> io::Result<usize> {
        let mut buffer = vec![0xa5; bytes];
        fill(&mut buffer);
        {
            let mut state = self.disk.borrow_mut();
            let fault = state.take_fault(|fault| fault != Fault::SyncFails);
            let mut length = bytes;
            match fault {
                Some(Fault::WriteFails) => return Err(io::Error::from_raw_os_error(libc::EIO)),
                Some(Fault::ShortWrite(blocks)) => length = length.min(blocks * BLOCK),
                _ => {}
            }
            let at = at as usize;
            let held = state.files[self.file].current.len();
            let room = state.bytes_max.saturating_sub(state.named_bytes());
            if (at + length).saturating_sub(held) > room {
                length = (held + room).saturating_sub(at).min(length);
                if length == 0 {
                    return Err(io::Error::from_raw_os_error(libc::ENOSPC));
                }
            }
            state.files[self.file].write(at, &buffer[..length]);
            if fault != Some(Fault::WriteStalls) {
                return Ok(length);
            }
        }
        std::future::pending().await
    }

    async fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.borrow_mut();
        if state.take_fault(|fault| fault == Fault::SyncFails).is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        state.files[self.file].settle(&mut || true);
        Ok(())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
