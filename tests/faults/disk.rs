//! What a disk would hold after a power cut. While the tracer looks on, it is kept for each file what the last flush that succeeded brought to the
//! disk, and for each folder which names it had when it was last flushed. Afterwards the folder is made anew from that.
//!
//! It is as hostile as POSIX lets a file system be: a new file's name, a rename and a removal are on the disk only once the *folder* was flushed.
//! SQLite flushes the folder of a log that it has just made together with the log, so its files need no rule of their own. Its shared-memory file
//! (`-shm`) is rebuilt from the log and is never there afterwards.

use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// How the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing is there but what was flushed.
    Worst,
    /// Of what was not flushed some sectors and some names are there, drawn from this seed.
    Torn(u64),
    /// As the worst, and the sink's folder is in memory, as `/run` is: it is empty.
    InMemory,
}

/// The ledger's files and the sink's, of one row's folder.
pub struct Disk {
    /// The folder with the ledger, then the sink's.
    folders: [PathBuf; 2],
    /// By inode.
    files: HashMap<u64, Known>,
    /// The names on the disk.
    names: BTreeMap<PathBuf, Names>,
    /// Flushes that have not returned yet.
    flushing: HashMap<Pid, Flush>,
}

type Names = BTreeMap<String, u64>;

struct Known {
    /// Held open until the end: so no other file gets this inode, and what was removed can still be read. It must not be closed while this process
    /// has the ledger open elsewhere, for that would give up the locks there.
    file: File,
    /// What is on the disk.
    flushed: Vec<u8>,
    unflushed: Unflushed,
}

/// Which bytes were written since the last flush.
enum Unflushed {
    Ranges(Vec<(u64, u64)>),
    Whole,
}

enum Flush {
    File(u64, Vec<u8>),
    Folder(PathBuf, Names),
}

impl Disk {
    /// All that is there now is on the disk.
    pub fn under(folder: &Path) -> Self {
        let folders = [folder.to_owned(), folder.join("sinks")];
        let mut disk = Self { folders, files: HashMap::new(), names: BTreeMap::new(), flushing: HashMap::new() };
        for folder in disk.folders.clone() {
            let names = disk.names_in(&folder);
            for name in names.keys() {
                let file = File::open(folder.join(name)).unwrap();
                let flushed = whole(&file);
                let known = Known { file, flushed, unflushed: Unflushed::Ranges(Vec::new()) };
                disk.files.insert(names[name], known);
            }
            disk.names.insert(folder, names);
        }
        disk
    }

    /// Whether this is one of the files, or a folder of theirs.
    pub fn follows(&self, path: &Path) -> bool {
        let [ledger, sink] = &self.folders;
        let is_ledger = || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ledger.db"));
        path == ledger || path == sink || path.parent() == Some(sink) || path.parent() == Some(ledger) && is_ledger()
    }

    /// The program has just opened or made it; its inode, if it is one of them.
    pub fn opened(&mut self, path: &Path) -> Option<u64> {
        if !self.follows(path) {
            return None;
        }
        let inode = fs::metadata(path).ok()?.ino();
        let is_folder = self.folders.iter().any(|folder| folder == path);
        if !is_folder && !self.files.contains_key(&inode) {
            // Another thread may have removed it by now.
            let file = File::open(path).ok()?;
            self.files.insert(inode, Known { file, flushed: Vec::new(), unflushed: Unflushed::Whole });
        }
        Some(inode)
    }

    /// The program wrote to it.
    pub fn written(&mut self, inode: u64, range: Option<(u64, u64)>) {
        let Some(known) = self.files.get_mut(&inode) else { return };
        match (&mut known.unflushed, range) {
            (Unflushed::Ranges(ranges), Some(range)) => ranges.push(range),
            (Unflushed::Ranges(_), None) => known.unflushed = Unflushed::Whole,
            (Unflushed::Whole, _) => {}
        }
    }

    /// What is written by now is what the flush is sure to bring to the disk.
    pub fn flush_begins(&mut self, thread: Pid, inode: u64) {
        let flush = match self.files.get(&inode) {
            Some(known) => Flush::File(inode, known.once_flushed()),
            None => {
                let is_it = |folder: &&PathBuf| fs::metadata(folder).is_ok_and(|about| about.ino() == inode);
                let Some(folder) = self.folders.iter().find(is_it) else { return };
                Flush::Folder(folder.clone(), self.names_in(folder))
            }
        };
        self.flushing.insert(thread, flush);
    }

    /// The flush has succeeded.
    pub fn flushed(&mut self, thread: Pid) {
        match self.flushing.remove(&thread) {
            Some(Flush::File(inode, flushed)) => {
                let known = self.files.get_mut(&inode).expect("what is flushed is known");
                known.flushed = flushed;
                known.unflushed = Unflushed::Ranges(Vec::new());
            }
            Some(Flush::Folder(folder, names)) => {
                self.names.insert(folder, names);
            }
            None => {}
        }
    }

    /// The flush failed, and the kernel believes that there is nothing to flush any more.
    pub fn forgotten(&mut self, inode: u64) {
        if let Some(known) = self.files.get_mut(&inode) {
            known.unflushed = Unflushed::Ranges(Vec::new());
        }
    }

    /// Makes the folders what they are after a power cut; what was lost, in words.
    pub fn rebuild(self, cut: Cut) -> String {
        let mut chance = StdRng::seed_from_u64(if let Cut::Torn(seed) = cut { seed } else { 0 });
        let mut lost = Lost::default();
        let [_, sink] = &self.folders;
        for folder in &self.folders {
            let (before, flushed) = (self.names_in(folder), &self.names[folder]);
            let all: BTreeSet<&String> = before.keys().chain(flushed.keys()).collect();
            let mut files = BTreeMap::new();
            for name in all {
                let is_kept = matches!(cut, Cut::Torn(_)) && chance.random();
                let inode = if is_kept { before.get(name) } else { flushed.get(name) };
                lost.names += usize::from(inode != before.get(name));
                let Some(known) = inode.and_then(|inode| self.files.get(inode)) else { continue };
                let content = match cut {
                    Cut::Worst | Cut::InMemory => known.flushed.clone(),
                    Cut::Torn(_) => known.torn(&mut chance),
                };
                lost.files += usize::from(content != whole(&known.file));
                files.insert(name.clone(), (content, known.file.metadata().unwrap().permissions()));
            }
            for name in before.keys() {
                fs::remove_file(folder.join(name)).unwrap();
            }
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_name().to_string_lossy().ends_with("-shm") {
                    fs::remove_file(entry.path()).unwrap();
                }
            }
            if cut == Cut::InMemory && folder == sink {
                continue;
            }
            for (name, (content, permissions)) in files {
                write(&folder.join(name), &content, permissions);
            }
        }
        let Lost { names, files } = lost;
        format!("{names} names and the end of {files} files were lost")
    }

    /// The files that are followed, as they are now.
    fn names_in(&self, folder: &Path) -> Names {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let about = entries.filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            // It may be gone by now.
            let about = entry.metadata().ok()?;
            let is_meant = about.is_file() && self.follows(&entry.path()) && !name.ends_with("-shm");
            is_meant.then(|| (name, about.ino()))
        });
        about.collect()
    }
}

#[derive(Default)]
struct Lost {
    names: usize,
    files: usize,
}

impl Known {
    fn once_flushed(&self) -> Vec<u8> {
        let now = whole(&self.file);
        let Unflushed::Ranges(ranges) = &self.unflushed else { return now };
        let mut flushed = self.flushed.clone();
        flushed.resize(now.len(), 0);
        for &(from, length) in ranges {
            let (from, to) = ((from as usize).min(now.len()), ((from + length) as usize).min(now.len()));
            flushed[from..to].copy_from_slice(&now[from..to]);
        }
        flushed
    }

    /// Some sectors are as they were written, others as they were flushed.
    fn torn(&self, chance: &mut StdRng) -> Vec<u8> {
        let (now, flushed) = (whole(&self.file), &self.flushed);
        let length = if chance.random() { now.len() } else { flushed.len() };
        let mut content = vec![0; length];
        for (number, sector) in content.chunks_mut(SECTOR).enumerate() {
            let from = number * SECTOR;
            let source = if chance.random() { &now } else { flushed };
            let source = &source[from.min(source.len())..(from + sector.len()).min(source.len())];
            sector[..source.len()].copy_from_slice(source);
        }
        content
    }
}

fn write(path: &Path, content: &[u8], permissions: Permissions) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(permissions.mode())).unwrap();
}

/// The file as programs see it. Read through the handle: to open and close it would give up this process's locks on it.
fn whole(file: &File) -> Vec<u8> {
    let length = file.metadata().unwrap().len() as usize;
    let mut content = vec![0; length];
    let mut read = 0;
    while read < length {
        match file.read_at(&mut content[read..], read as u64).unwrap() {
            // It was cut meanwhile.
            0 => break,
            more => read += more,
        }
    }
    content.truncate(read);
    content
}
