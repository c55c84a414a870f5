//! The listening socket.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::Listen;

/// A bound socket. A unix socket's file goes when this is dropped.
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket and its file.
    Unix(UnixListener, SocketFile),
}

/// A connection of either kind.
pub(crate) enum Connection {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system refuses the address.
    #[error("cannot listen at {address}; give another address")]
    Bind {
        /// The address.
        address: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process listens at the socket.
    #[error("cannot listen at unix:{0}: another process does; stop it, or give another path")]
    InUse(PathBuf),
    /// There is a file of another kind.
    #[error("cannot listen at unix:{0}: the file there is no socket; give another path")]
    NoSocket(PathBuf),
}

impl Listener {
    /// Binds the address. A socket file that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address)
                .await
                .map(Self::Tcp)
                .map_err(|source| ListenError::Bind { address: address.clone(), source }),
            Listen::Unix(path) => {
                let failed = |source| ListenError::Bind { address: format!("unix:{}", path.display()), source };
                clear(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// The address as bound, the port chosen by the system included.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
            }
            Self::Unix(_, SocketFile(path)) => format!("unix:{}", path.display()),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Connection> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole; waiting for more to send would only delay them.
                stream.set_nodelay(true)?;
                Ok(Connection::Tcp(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Connection::Unix(stream)),
        }
    }
}

/// The file of a unix socket, removed when dropped.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the socket file stays behind");
        }
    }
}

/// Removes the socket file of a process that ended without doing so itself.
async fn clear(path: &Path) -> Result<(), ListenError> {
    let Ok(metadata) = path.symlink_metadata() else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NoSocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|source| ListenError::Bind { address: format!("unix:{}", path.display()), source }),
        Ok(_) | Err(_) => Err(ListenError::InUse(path.to_owned())),
    }
}
