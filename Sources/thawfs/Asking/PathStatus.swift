import Glibc
import ThawCore
import Wire

/// What the extended attributes of a file or directory of a mount say.
struct PathStatus {
    private let path: String
    private let isDirectory: Bool
    private var values: [(name: String, text: String)] = []

    private static let ofFiles = [
        "key", "storage_class", "restore_status", "restore_expiry", "restore_tier", "restore_requested",
        "restore_eta",
    ]

    /// Asks for each by name. Starts no restore.
    init(_ path: Path, on mountpoint: String) throws {
        self.path = path.text
        var status = stat()
        guard stat(path.bytes, &status) == 0 else { throw UsageError("\(path): \(errorText(errno))") }
        isDirectory = status.st_mode & S_IFMT == S_IFDIR
        // Elsewhere the version would cost a question to the store.
        let version = path.isAmongVersions(of: mountpoint) ? ["version_id"] : []
        for name in isDirectory ? ["key", "restore"] : Self.ofFiles + version {
            do throws(ExtendedAttribute.Failure) {
                let value = try path.attribute(name)
                if name == "key" { values.append((name, "\(ObjectKey(value))")) } else { add(name, value) }
            } catch {
                guard error.errno == ENODATA else { throw UsageError("\(path): \(errorText(error.errno))") }
            }
        }
    }

    /// A directory's counts are `objects=12 bytes=345 …`, each a value of its own here.
    private mutating func add(_ name: String, _ value: [UInt8]) {
        let text = String(decoding: value, as: UTF8.self)
        guard name == "restore" else { return values.append((name, text)) }
        for word in text.split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values.append((String(parts[0]), String(parts[1]))) }
        }
    }

    var lines: [String] {
        var table = TextTable()
        for (name, text) in values {
            let label = String(name.map { $0 == "_" ? " " : $0 })
            guard isDirectory, let count = UInt64(text) else {
                table.rows.append([label, text])
                continue
            }
            table.rows.append([label, name == "bytes" ? Units.text(bytes: count) : Units.count(count)])
        }
        return [path] + table.lines.map { "  " + $0 }
    }

    var json: JSON {
        var members: [String: JSON] = [:]
        for (name, text) in values {
            members[name] = isDirectory && name != "key" ? UInt64(text).map { JSON($0) } ?? .string(text) : .string(text)
        }
        members["path"] = .string(path)
        return [isDirectory ? "directory" : "file": .object(members)]
    }
}
