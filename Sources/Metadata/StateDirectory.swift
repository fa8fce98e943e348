internal import Glibc

/// The directory that belongs to one mounted source: its database, its log, and the lock that keeps a second mount out.
package final class StateDirectory: Sendable {
    package let path: String
    private let lock: Int32

    /// Makes the directory (mode 0700) and takes its lock. Fails with `inUse` while another process holds it.
    package init(path: String, holder: String) throws(MetadataError) {
        self.path = path
        try Self.makeDirectories(path)
        lock = open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw .directory(path: path + "/lock", errno: errno) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            let other = Self.read(lock)
            close(lock)
            if code == EWOULDBLOCK { throw .inUse(holder: other) }
            throw .directory(path: path + "/lock", errno: code)
        }
        let line = Array("pid \(getpid()) at \(holder)".utf8)
        ftruncate(lock, 0)
        _ = pwrite(lock, line, line.count, 0)
    }

    deinit { close(lock) }

    package var databasePath: String { Self.databasePath(in: path) }
    package static func databasePath(in path: String) -> String { path + "/metadata.sqlite" }
    package var logPath: String { path + "/log" }

    private static func read(_ descriptor: Int32) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = pread(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : "another process"
    }

    private static func makeDirectories(_ path: String) throws(MetadataError) {
        var partial = ""
        for component in path.split(separator: "/") {
            partial += "/" + component
            guard mkdir(partial, 0o700) == 0 || errno == EEXIST else {
                throw .directory(path: partial, errno: errno)
            }
        }
    }
}
