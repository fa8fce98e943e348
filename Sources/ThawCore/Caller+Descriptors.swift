internal import Glibc

extension Caller {
    /// Whether the process has a descriptor for writing of the file with this inode number. False where that is not to
    /// be known: the process is gone, ends, or has more than so many. Reads `/proc/TID/fdinfo`, and looks at no file.
    package func hasOpenForWriting(inode: UInt64, descriptorsMax: Int = 4096) -> Bool {
        guard thread > 0, let listing = opendir("/proc/\(thread)/fdinfo") else { return false }
        defer { closedir(listing) }
        var left = descriptorsMax
        while left > 0, let entry = readdir(listing) {
            left -= 1
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let text = readTextFile("/proc/\(thread)/fdinfo/\(name)") else { continue }
            if Self.isForWriting(info: text, inode: inode) { return true }
        }
        return false
    }

    /// By the text of `/proc/TID/fdinfo/FD`: lines of a name, a colon and a value; `flags` are octal.
    static func isForWriting(info: String, inode: UInt64) -> Bool {
        var values: [Substring: Substring] = [:]
        for line in info.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1].drop { $0 == "\t" || $0 == " " } }
        }
        guard values["ino"].flatMap({ UInt64($0) }) == inode,
            let flags = values["flags"].flatMap({ Int32($0, radix: 8) })
        else { return false }
        return flags & O_ACCMODE != O_RDONLY
    }
}
