//! Checking, mending and copying a store.

use super::super::fsck::{check as look, repair};
use super::*;
use crate::finding::Severity;

fn fill(dir: &Path) -> Maker {
    let mut maker = Maker::new();
    let (store, _) = open(dir);
    for n in 0..4 {
        let batch = maker.batch(200, |row| n * 1000 + row as i64);
        maker.insert(&store, &batch);
        store.flush_now().unwrap();
        if n == 2 {
            store.compact_now().unwrap();
        }
    }
    store.close();
    maker
}

fn worst(dir: &Path) -> Severity {
    look(dir).unwrap().into_iter().map(|finding| finding.severity).max().unwrap()
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "parquet")).collect();
    files.sort();
    files
}

#[test]
fn a_sound_store_needs_no_repair() {
    let dir = tempfile::tempdir().unwrap();
    let maker = fill(dir.path());
    assert_eq!(worst(dir.path()), Severity::Fine, "{:?}", look(dir.path()));
    assert!(repair(dir.path()).unwrap().is_empty());
    check(&open(dir.path()).0, &maker.made, 100);
}

#[test]
fn a_lost_manifest_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let maker = fill(dir.path());
    let (_, covered) = open(dir.path());
    // What an interrupted compaction leaves: the rows of one file in another one too.
    let leftover = files(dir.path())[0].clone();
    std::fs::copy(&leftover, dir.path().join(manifest::file_name(99))).unwrap();
    let path = dir.path().join(manifest::NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[30] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(ParquetStore::open(dir.path(), Options::default()).is_err());
    assert_eq!(worst(dir.path()), Severity::Lost);
    assert_eq!(repair(dir.path()).unwrap().len(), 2);
    let (store, again) = open(dir.path());
    assert_eq!(again, covered);
    check(&store, &maker.made, 100);
}

#[test]
fn any_damage_to_a_file_is_found_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let maker = fill(dir.path());
    let last = files(dir.path())[1].clone();
    let sound = std::fs::read(&last).unwrap();
    for at in [6, sound.len() / 2, sound.len() - 6] {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&last, damaged).unwrap();
        assert_eq!(worst(dir.path()), Severity::Lost, "byte {at}");
    }
    assert_eq!(repair(dir.path()).unwrap().len(), 1);
    assert_eq!(worst(dir.path()), Severity::Remark);
    check(&open(dir.path()).0, &maker.made[..600], 100);
}

#[test]
fn a_copy_starts_as_a_store_of_its_own() {
    let never = std::sync::atomic::AtomicBool::new(false);
    let (dir, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut maker = fill(dir.path());
    let (store, _) = open(dir.path());
    let batch = maker.batch(200, |row| row as i64);
    maker.insert(&store, &batch);
    let to = parent.path().join("copy");
    let copied = store.copy_to(&to, &never).unwrap();
    assert_eq!((copied.rows, copied.linked), (maker.made.len() as u64, copied.files));
    assert!(matches!(store.copy_to(&to, &never), Err(CopyError::NotEmpty { .. })));
    assert_eq!((store.totals().copies, store.totals().copy_failures), (1, 1));
    let made = maker.made.clone();
    let batch = maker.batch(200, |row| row as i64);
    maker.insert(&store, &batch);
    store.compact_now().unwrap();
    let (copy, covered) = open(&to.join("store"));
    // Where the log goes on there: behind all that the files tell of.
    assert!(covered[&0] > LogPosition::default());
    check(&copy, &made, 100);
    check(&store, &maker.made, 100);
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing_that_starts() {
    let (dir, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let maker = fill(dir.path());
    let (store, _) = open(dir.path());
    let to = parent.path().join("copy");
    let stopped = std::sync::atomic::AtomicBool::new(true);
    assert!(matches!(store.copy_to(&to, &stopped), Err(CopyError::Stopped)));
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
    // As a kill half way leaves it: the next one clears that away.
    std::fs::create_dir(to.join("store.new")).unwrap();
    std::fs::write(to.join("store.new").join(manifest::file_name(0)), b"half").unwrap();
    store.copy_to(&to, &std::sync::atomic::AtomicBool::new(false)).unwrap();
    check(&open(&to.join("store")).0, &maker.made, 100);
}
