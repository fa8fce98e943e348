internal import Glibc

/// Where the control socket of a mount is: in the mount's state directory, which is its owner's alone.
///
/// A socket's address holds 108 bytes of path, and a state directory may be deeper than that, so it is bound and
/// connected to through a descriptor of the directory (`/proc/self/fd/N/control`).
package struct ControlSocket: Sendable {
    package static let name = "control"

    /// Absolute.
    package let directory: String

    package init(directory: String) { self.directory = directory }

    /// From the value of `user.thaw.control`; nil for text that is no path of such a socket.
    package init?(path: String) {
        guard path.hasPrefix("/"), path.hasSuffix("/" + Self.name) else { return nil }
        directory = String(path.dropLast(Self.name.utf8.count + 1))
    }

    package var path: String { directory + "/" + Self.name }

    /// Binds and listens, in the place of a socket that an earlier daemon left: who calls this holds the lock of the
    /// directory.
    func listen(backlog: Int32) throws(ControlError) -> Int32 {
        let place = try openDirectory()
        defer { close(place) }
        guard unlinkat(place, Self.name, 0) == 0 || errno == ENOENT else { throw .socket(path: path, errno: errno) }
        let descriptor = try makeSocket(SOCK_NONBLOCK.rawValue)
        guard withAddress(in: place, { bind(descriptor, $0, $1) }) == 0,
            fchmodat(place, Self.name, 0o600, 0) == 0, Glibc.listen(descriptor, backlog) == 0
        else {
            let code = errno
            close(descriptor)
            throw .socket(path: path, errno: code)
        }
        return descriptor
    }

    func remove() { unlink(path) }

    /// A connected socket, to a daemon of a user who is trusted: whoever made the path known may have named any socket.
    func connect(timeout: Duration, isTrusted: (UInt32) -> Bool) throws(ControlError) -> Int32 {
        let place = try openDirectory()
        defer { close(place) }
        let descriptor = try makeSocket(0)
        // Connecting waits where more do than the daemon has room for.
        var limit = timeval(
            tv_sec: Int(timeout.components.seconds),
            tv_usec: Int(timeout.components.attoseconds / 1_000_000_000_000))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        do throws(ControlError) {
            guard withAddress(in: place, { Glibc.connect(descriptor, $0, $1) }) == 0 else {
                throw Self.failure(path, errno)
            }
            let user = try peer(of: descriptor)
            guard isTrusted(user) else { throw .untrusted(path: path, uid: user) }
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// Who listens: the kernel's word, of when they began to.
    private func peer(of descriptor: Int32) throws(ControlError) -> UInt32 {
        // `struct ucred`, which Glibc shows to GNU sources only: pid, uid, gid.
        var credentials: [UInt32] = [0, 0, 0]
        var size = socklen_t(credentials.count * MemoryLayout<UInt32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 else {
            throw .socket(path: path, errno: errno)
        }
        return credentials[1]
    }

    private func openDirectory() throws(ControlError) -> Int32 {
        let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Self.failure(path, errno) }
        return descriptor
    }

    private func makeSocket(_ flags: UInt32) throws(ControlError) -> Int32 {
        let kind = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | flags
        let descriptor = socket(AF_UNIX, Int32(kind), 0)
        guard descriptor >= 0 else { throw .socket(path: path, errno: errno) }
        return descriptor
    }

    private static func failure(_ path: String, _ code: Int32) -> ControlError {
        switch code {
        case ENOENT, ENOTDIR, ECONNREFUSED: .notListening(path: path)
        case EACCES, EPERM: .denied(path: path)
        case EAGAIN: .noAnswer
        default: .socket(path: path, errno: code)
        }
    }

    private func withAddress(
        in directory: Int32, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = "/proc/self/fd/\(directory)/\(Self.name)"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }
}
