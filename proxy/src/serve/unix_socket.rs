//! Unix-domain sockets in the file system: who may connect, and whose the file is.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::config::Sockets;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// The file of a socket that is listened on. Dropping it removes the file, unless it is another one by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and seconds and nanoseconds of the last change: an inode's number is given out again.
type Identity = (u64, u64, i64, i64);

/// Listens on `path`. A file that nobody listens on any more is replaced, and where the address is shared one that
/// another proxy listens on too: in one step, so that a client always finds one of the two.
///
/// # Errors
/// When there is something else at the path, somebody listens on it, or the system refuses.
pub(super) fn bind(path: &Path, sockets: Sockets) -> io::Result<(UnixListener, Option<SocketFile>)> {
    let replaces = is_taken(path)?;
    if sockets.shared {
        let beside = if replaces { beside(path) } else { path.to_owned() };
        let listener = bind_at(&beside, sockets.mode)?;
        if replaces {
            fs::rename(beside, path)?;
        }
        // The file stays for whoever shares it: removing it could hit another one that has just come.
        return Ok((listener, None));
    }
    if replaces {
        remove_stale(path)?;
    }
    let listener = bind_at(path, sockets.mode)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    Ok((listener, Some(file)))
}

fn bind_at(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Some(mode) = mode {
        // The file takes it over as it is made, so that it is never open to more than is wanted.
        fchmod(&socket, Mode::from_raw_mode(mode))?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        // The umask may have closed it to some who are wanted.
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether there is a socket at the path.
fn is_taken(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(found) if found.file_type().is_socket() => Ok(true),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is no socket")),
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"));
    }
    fs::remove_file(path)
}

/// A name of this process's own in the same folder.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // The next start replaces what could not be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        for mode in [0o600, 0o666] {
            let (_listener, file) = bind(&path, Sockets { mode: Some(mode), shared: false }).unwrap();
            assert_eq!(mode_of(&path), mode);
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn nobody_is_pushed_out_and_nothing_else_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let held = bind(&path, Sockets::default()).unwrap();
        assert_eq!(bind(&path, Sockets::default()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        fs::rename(&path, folder.path().join("aside")).unwrap();
        let (_listener, file) = bind(&path, Sockets::default()).unwrap();
        drop(held);
        assert!(path.exists(), "the file is another proxy's by now");
        drop(file);
        fs::write(&path, "").unwrap();
        assert_eq!(bind(&path, Sockets::default()).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_shared_path_leads_to_the_latest_and_the_earlier_keeps_its_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.sock");
        let shared = Sockets { shared: true, mode: None };
        let (earlier, _) = bind(&path, shared).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        let (latest, _) = bind(&path, shared).unwrap();
        let _next = UnixStream::connect(&path).unwrap();
        for listener in [&earlier, &latest] {
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_ok());
            assert!(listener.accept().is_err());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
