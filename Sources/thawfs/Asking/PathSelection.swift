import Glibc
import Metadata
import Restore
import ThawCore

/// What a command is to restore, taken from paths: what they name at the store, by the mount that they are on.
///
/// A mount is asked for its daemon once, and a file for its key; nothing is read or restored. What is named twice, or
/// lies below a directory that is named too, counts once.
struct PathSelection {
    struct Group {
        let daemon: Daemon
        var scopes: [RestoreScope]
    }

    let isRecursive: Bool
    /// A sentence for each path that cannot be restored.
    private(set) var complaints: [String] = []
    private var groups: [dev_t: Group] = [:]
    private var order: [dev_t] = []
    private var unaskable: Set<dev_t> = []

    init(isRecursive: Bool) { self.isRecursive = isRecursive }

    /// The mounts, in the order in which they were met, with what is to be restored of each.
    var selected: [Group] {
        order.compactMap { groups[$0] }.map { Group(daemon: $0.daemon, scopes: Self.reduced($0.scopes)) }
    }

    mutating func add(_ path: Path) {
        var status = stat()
        guard stat(path.bytes, &status) == 0 else {
            // A mount that belongs to somebody else is explained better by who is asked for its daemon.
            return complain(errno == EACCES || errno == ENOTCONN ? daemonComplaint(path) : "\(path): \(errorText(errno))")
        }
        let isDirectory = status.st_mode & S_IFMT == S_IFDIR
        guard let mountpoint = mountpoint(status.st_dev, path) else { return }
        guard !isDirectory || isRecursive else {
            return complain("\(path) is a directory; -r restores all that is below it")
        }
        let isAmongVersions = path.isAmongVersions(of: mountpoint)
        // Its key is that of what is there now.
        guard !isDirectory || !isAmongVersions else {
            return complain("\(path) is a directory of versions; name the versions to restore")
        }
        do throws(ExtendedAttribute.Failure) {
            let key = ObjectKey(try path.attribute("key"))
            // Elsewhere the current version is meant, and to name it would cost a question to the store.
            let version = isAmongVersions ? String(decoding: try path.attribute("version_id"), as: UTF8.self) : nil
            groups[status.st_dev]?.scopes.append(RestoreScope(isDirectory ? .tree : .object, key, version: version))
        } catch {
            complain("\(path): \(errorText(error.errno))")
        }
    }

    /// Where it is mounted; nil when its daemon cannot be asked, of which it says why once for each mount.
    private mutating func mountpoint(_ device: dev_t, _ path: Path) -> String? {
        if let group = groups[device] { return group.daemon.mountpoint }
        guard !unaskable.contains(device) else { return nil }
        do {
            let daemon = try Daemon(servingPath: path)
            groups[device] = Group(daemon: daemon, scopes: [])
            order.append(device)
            return daemon.mountpoint
        } catch {
            unaskable.insert(device)
            complain("\(error)")
            return nil
        }
    }

    private mutating func complain(_ text: String) { complaints.append(text) }

    private func daemonComplaint(_ path: Path) -> String {
        do { _ = try Daemon(servingPath: path) } catch { return "\(error)" }
        return "\(path): \(errorText(EACCES))"
    }

    /// Without what is there twice, in the order of the first.
    static func reduced(_ scopes: [RestoreScope]) -> [RestoreScope] {
        let trees = Set(scopes.lazy.filter { $0.kind == .tree }.map(\.key))
        var seen: Set<String> = []
        return scopes.filter { scope in
            if scope.version == nil, isCovered(scope, by: trees) { return false }
            return seen.insert(scope.json.text).inserted
        }
    }

    /// Whether a tree above it is named as well.
    private static func isCovered(_ scope: RestoreScope, by trees: Set<ObjectKey>) -> Bool {
        guard !trees.isEmpty else { return false }
        if trees.contains(.empty) { return !(scope.kind == .tree && scope.key.isEmpty) }
        let bytes = scope.key.bytes
        return bytes.indices.contains { index in
            bytes[index] == UInt8(ascii: "/") && !(scope.kind == .tree && index == bytes.count - 1)
                && trees.contains(ObjectKey(bytes[...index]))
        }
    }
}

/// The paths that a file holds, one for each line, or each ended by NUL; `-` is the standard input.
func readPaths(_ file: String, isNullSeparated: Bool) throws -> [Path] {
    let descriptor = file == "-" ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw UsageError("--files-from \(file): \(errorText(errno))") }
    defer { if descriptor != STDIN_FILENO { close(descriptor) } }
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(descriptor, &piece, piece.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw UsageError("--files-from \(file): \(errorText(errno))") }
        if count == 0 { break }
        bytes += piece[..<count]
    }
    return bytes.split(separator: isNullSeparated ? 0 : UInt8(ascii: "\n")).map { Path(bytes: $0) }
}
