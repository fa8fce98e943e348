import Glibc
import ThawCore

/// The directory to mount on, checked before anything else is done.
struct Mountpoint {
    /// Absolute and without symbolic links, as the mount table has it.
    let path: String

    init(_ given: String) throws {
        var status = stat()
        guard stat(given, &status) == 0 else {
            switch errno {
            case ENOENT: throw UsageError("mountpoint \(given) does not exist; make it with mkdir")
            case ENOTCONN:
                throw UsageError("mountpoint \(given) is a dead mount; remove it with fusermount3 -u \(given)")
            default: throw UsageError("mountpoint \(given): \(errorText(errno))")
            }
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw UsageError("mountpoint \(given) is not a directory") }
        guard let resolved = realpath(given, nil) else { throw UsageError("mountpoint \(given): \(errorText(errno))") }
        path = String(cString: resolved)
        free(resolved)
        if let source = MountTable.source(at: path) {
            throw UsageError("mountpoint \(path) is busy: \(source) is mounted there")
        }
    }

    /// Says why this machine cannot mount FUSE filesystems, if it cannot.
    static func checkDevice() throws {
        let descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC)
        guard descriptor < 0 else {
            close(descriptor)
            return
        }
        switch errno {
        case ENOENT, ENODEV, ENXIO:
            throw UsageError("/dev/fuse is not there: load the kernel module (modprobe fuse), or give the container the device")
        case EACCES, EPERM: throw UsageError("/dev/fuse may not be opened by this user: \(errorText(errno))")
        default: throw UsageError("/dev/fuse: \(errorText(errno))")
        }
    }
}

/// What is mounted where, by /proc/self/mountinfo.
enum MountTable {
    /// The source of the topmost mount at this path; nil when nothing is mounted there.
    static func source(at path: String) -> String? {
        guard let text = readTextFile("/proc/self/mountinfo") else { return nil }
        var source: String?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, unescaped(fields[4]) == path, let mark = fields.firstIndex(of: "-"),
                mark + 2 < fields.count
            else { continue }
            source = unescaped(fields[mark + 2])
        }
        return source
    }

    /// The kernel writes blanks and backslashes as `\040` and the like.
    private static func unescaped(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let code = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// The whole of a text file; nil when it cannot be read.
func readTextFile(_ path: String) -> String? {
    guard let file = fopen(path, "re") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}
