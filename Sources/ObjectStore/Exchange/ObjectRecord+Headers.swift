import HTTP
import ThawCore
import Wire

extension ObjectRecord {
    /// What the headers of a HEAD or a GET say, or nil when one that must be there is missing or unreadable.
    ///
    /// - Parameter sizeBytes: of the whole object, which a ranged reply names apart from its own length
    init?(_ head: HTTPResponseHead, sizeBytes: UInt64, _ dialect: any BucketDialect) {
        guard let modified = head["last-modified"].flatMap({ WireDate.parseRFC1123($0) }),
            let etag = head["etag"]
        else { return nil }
        let prefix = dialect.headerPrefix
        self.init(
            sizeBytes: sizeBytes,
            modified: modified,
            etag: etag,
            storageClass: head[prefix + "storage-class"].map { StorageClass($0) } ?? dialect.defaultClass,
            restore: head[prefix + "restore"].flatMap { RestoreHeader($0) },
            archiveStatus: head[prefix + "archive-status"] ?? (dialect.listsArchive ? nil : ""),
            versionID: head[prefix + "version-id"],
            attributes: FileAttributes(metadata: ObjectHeaders(head, dialect).metadata)
        )
    }
}

/// A size or an offset as a store writes it; nil for what no file can have, so that no sum of two overflows.
func fileOffset(_ text: some StringProtocol) -> UInt64? {
    Int64(text).flatMap { UInt64(exactly: $0) }
}

/// The `Content-Range` of a 206: which bytes came, of how many.
struct ContentRange: Equatable {
    var range: Range<UInt64>
    var sizeBytes: UInt64

    /// Reads `bytes 0-9/100`; nil for anything else, an unknown size included.
    init?(_ text: String) {
        guard text.hasPrefix("bytes ") else { return nil }
        let parts = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let size = fileOffset(parts[1]) else { return nil }
        let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = fileOffset(ends[0]), let last = fileOffset(ends[1]), first <= last,
            last < size
        else {
            return nil
        }
        range = first..<(last + 1)
        sizeBytes = size
    }
}
