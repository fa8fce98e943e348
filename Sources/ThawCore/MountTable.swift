/// What is mounted where, by /proc/self/mountinfo.
package enum MountTable {
    package struct Entry: Sendable, Equatable {
        package let mountpoint: String
        /// `fuse.thawfs`
        package let type: String
        /// What the filesystem says it shows (`fsname`).
        package let source: String
        /// `major:minor`, which no other mount has at the same time.
        package let device: String
        /// `rw,user_id=1000,group_id=1000`
        package let options: String

        package var isThawfs: Bool { type == "fuse.thawfs" }

        /// Who mounted it, of a FUSE filesystem.
        package var ownerID: UInt32? {
            options.split(separator: ",").first { $0.hasPrefix("user_id=") }.flatMap { UInt32($0.dropFirst(8)) }
        }
    }

    /// Every mount, in the order in which they were made.
    package static func entries() -> [Entry] {
        (readTextFile("/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap(parsed)
    }

    /// The topmost mount at this path; nil when nothing is mounted there.
    package static func entry(at path: String) -> Entry? { entries().last { $0.mountpoint == path } }

    /// The mount that a path is on, by the path alone: nothing is looked at, and no symbolic link followed.
    package static func entry(containing path: String) -> Entry? {
        let entries = entries()
        var place = path
        while true {
            if let entry = entries.last(where: { $0.mountpoint == (place.isEmpty ? "/" : place) }) { return entry }
            guard let slash = place.lastIndex(of: "/") else { return nil }
            place = String(place[..<slash])
        }
    }

    private static func parsed(_ line: Substring) -> Entry? {
        let fields = line.split(separator: " ")
        guard fields.count > 6, let mark = fields.firstIndex(of: "-"), mark + 3 < fields.count else { return nil }
        return Entry(
            mountpoint: unescaped(fields[4]), type: String(fields[mark + 1]), source: unescaped(fields[mark + 2]),
            device: String(fields[2]), options: String(fields[mark + 3]))
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
