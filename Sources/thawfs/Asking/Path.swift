import Glibc
import ThawCore

/// A path as the system has it: bytes, which need not be text.
struct Path: CustomStringConvertible {
    /// Ended by a NUL.
    let bytes: [CChar]

    init(bytes: some Sequence<UInt8>) { self.bytes = bytes.map { CChar(bitPattern: $0) } + [0] }

    /// For people to read: without control characters.
    var description: String { text.printable }

    /// As far as it is text.
    var text: String { bytes.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" } }

    /// Without symbolic links where that can be had, and from the root in any case.
    var absolute: String {
        if let resolved = realpath(bytes, nil) {
            defer { free(resolved) }
            return String(cString: resolved)
        }
        guard !text.hasPrefix("/"), let current = getcwd(nil, 0) else { return text }
        defer { free(current) }
        return String(cString: current) + "/" + text
    }

    /// Whether this is a `.versions` of the mount, or below one.
    func isAmongVersions(of mountpoint: String) -> Bool {
        absolute.dropFirst(mountpoint.count).split(separator: "/").contains(".versions")
    }

    /// The value of `user.thaw.NAME`.
    func attribute(_ name: String) throws(ExtendedAttribute.Failure) -> [UInt8] {
        try ExtendedAttribute.value("user.thaw." + name, of: bytes)
    }
}
