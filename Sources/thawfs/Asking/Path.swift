import Glibc
import ThawCore

/// A path as the system has it: bytes, which need not be text.
struct Path: CustomStringConvertible {
    /// Ended by a NUL.
    let bytes: [CChar]

    init(bytes: some Sequence<UInt8>) { self.bytes = bytes.map { CChar(bitPattern: $0) } + [0] }

    /// What the user typed: an argument that is no text has come to us as something that looks like it.
    init(argument: String) {
        let typed = (0..<Int(CommandLine.argc)).lazy.compactMap { CommandLine.unsafeArgv[$0] }
        let original = typed.first { String(cString: $0) == argument }
        bytes =
            original.map { Array(UnsafeBufferPointer(start: $0, count: strlen($0) + 1)) }
            ?? Array(argument.utf8CString)
    }

    var description: String { bytes.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" } }

    /// Without symbolic links where that can be had, and from the root in any case.
    var absolute: String {
        if let resolved = realpath(bytes, nil) {
            defer { free(resolved) }
            return String(cString: resolved)
        }
        guard !description.hasPrefix("/"), let current = getcwd(nil, 0) else { return description }
        defer { free(current) }
        return String(cString: current) + "/" + description
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
