package import ThawCore
internal import Wire

/// How a path is kept in an archive's description, and read from one.
package enum ArchiveName {
    /// Says that the description is ours, and in which way it is written.
    private static let mark = "thawfs1:"
    /// What a description may have (OAS API manual, "Archives").
    package static let charactersMax = 128

    /// Nil for a path that is too long: percent-encoding takes three characters for each byte outside of ASCII.
    package static func description(_ path: ObjectKey) -> String? {
        let text = mark + PercentEncoding.encode(path.bytes, keepingSlash: true)
        return text.utf8.count <= charactersMax ? text : nil
    }

    /// The path of a description of anybody's: one that is not ours is a path as it is, and no description is none.
    package static func path(_ description: String) -> ObjectKey? {
        if description.hasPrefix(mark), let bytes = PercentEncoding.decode(description.dropFirst(mark.count).utf8) {
            return bytes.isEmpty ? nil : ObjectKey(bytes)
        }
        var bytes = Array(description.utf8)
        while bytes.first == UInt8(ascii: "/") { bytes.removeFirst() }
        // What ends so would be a directory, and an archive is none.
        return bytes.isEmpty || bytes.last == UInt8(ascii: "/") || bytes.contains(0) ? nil : ObjectKey(bytes)
    }

    /// The name of an archive whose path another has: reversible, and not taken by accident.
    package static func duplicate(of path: ObjectKey, archive: String) -> ObjectKey {
        path + Array("#archive=\(archive)".utf8)
    }
}
