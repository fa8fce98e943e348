/// What is mounted where, by /proc/self/mountinfo.
package enum MountTable {
    package struct Entry: Sendable, Equatable {
        /// What the filesystem says it shows (`fsname`).
        package let source: String
        /// `major:minor`, which no other mount has at the same time.
        package let device: String
    }

    /// The topmost mount at this path; nil when nothing is mounted there.
    package static func entry(at path: String) -> Entry? {
        guard let text = readTextFile("/proc/self/mountinfo") else { return nil }
        var entry: Entry?
        for line in text.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count > 6, unescaped(fields[4]) == path, let mark = fields.firstIndex(of: "-"),
                mark + 2 < fields.count
            else { continue }
            entry = Entry(source: unescaped(fields[mark + 2]), device: String(fields[2]))
        }
        return entry
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
