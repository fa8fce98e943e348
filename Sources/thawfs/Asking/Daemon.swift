import Control
import Glibc
import ThawCore

/// The daemon of a mount, as the commands find it and ask it.
struct Daemon {
    /// Where it is mounted, as the mount table has it.
    let mountpoint: String
    private let socket: ControlSocket
    private let ownerID: UInt32?

    private static let timeout = Duration.seconds(20)

    /// The daemon of the mount that a path is on.
    init(servingPath path: Path) throws {
        let entry = MountTable.entry(containing: path.absolute)
        let value: [UInt8]
        do throws(ExtendedAttribute.Failure) { value = try path.attribute("control") } catch {
            throw Self.explanation(path, entry, error.errno)
        }
        // Anybody may give a file of theirs an attribute of this name.
        guard let entry, entry.isThawfs else { throw Self.explanation(path, entry, ENODATA) }
        guard let socket = ControlSocket(path: String(decoding: value, as: UTF8.self)) else {
            throw Self.explanation(path, entry, ENODATA)
        }
        self.socket = socket
        mountpoint = entry.mountpoint
        ownerID = entry.ownerID
    }

    /// The daemon that has this state directory; nil where there is no such directory. Whether it runs shows when it is
    /// asked.
    init?(ofState path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        socket = ControlSocket(directory: path)
        mountpoint = path
        ownerID = status.st_uid
    }

    private static func explanation(_ path: Path, _ entry: MountTable.Entry?, _ code: Int32) -> UsageError {
        guard let entry, entry.isThawfs else {
            let isElsewhere = [ENODATA, EOPNOTSUPP, ENOSYS].contains(code)
            return UsageError(isElsewhere ? "\(path) is not on a mount of thawfs" : "\(path): \(errorText(code))")
        }
        switch code {
        case EACCES where entry.ownerID != getuid():
            return UsageError("\(path): the mount \(entry.mountpoint) belongs to uid \(entry.ownerID ?? 0); ask its owner")
        case ENOTCONN, ECONNABORTED:
            return UsageError("the daemon of \(entry.mountpoint) is gone; thawfs umount \(entry.mountpoint), and mount again")
        case ENODATA, EOPNOTSUPP:
            return UsageError("the daemon of \(entry.mountpoint) is of a version that cannot be asked; mount again")
        default: return UsageError("\(path): \(errorText(code))")
        }
    }

    /// Sends a command, with the lines that belong to it and the one that ends them, and answers the reply.
    func ask(
        _ command: JSON, followedBy lines: some Sequence<JSON> = EmptyCollection(), and end: JSON? = nil
    ) throws -> JSON {
        do throws(ControlError) {
            var client = try ControlClient(connectingTo: socket, timeout: Self.timeout) { [ownerID] user in
                user == 0 || user == ownerID
            }
            try client.send(command)
            for line in lines { try client.send(line) }
            if let end { try client.send(end) }
            return try client.receive()
        } catch {
            throw DaemonError(mountpoint: mountpoint, ownerID: ownerID, cause: error)
        }
    }

    /// What the reply must hold, read from it; a reply without is the daemon's mistake.
    func expect<Value>(_ value: Value?, in reply: JSON) throws -> Value {
        guard let value else {
            throw DaemonError(
                mountpoint: mountpoint, ownerID: ownerID, cause: .nonsense(String(reply.text.prefix(200))))
        }
        return value
    }
}

/// Why a daemon did not answer, in a sentence that says what to do.
struct DaemonError: Error, CustomStringConvertible {
    let mountpoint: String
    let ownerID: UInt32?
    let cause: ControlError

    var description: String {
        text.printable
    }

    private var text: String {
        switch cause {
        case .denied:
            "the mount \(mountpoint) belongs to uid \(ownerID ?? 0): ask its owner, or use setfattr -n user.thaw.restore"
        case .notListening: "no daemon answers for \(mountpoint): it is starting or ending, or its state_dir is hidden from here"
        default: "\(mountpoint): \(cause)"
        }
    }
}
