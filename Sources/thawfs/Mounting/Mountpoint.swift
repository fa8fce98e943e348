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
        if let entry = MountTable.entry(at: path) {
            throw UsageError("mountpoint \(path) is busy: \(entry.source) is mounted there")
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
