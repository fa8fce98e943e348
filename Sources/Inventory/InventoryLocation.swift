package import ThawCore
package import Wire

/// Where a report is: the key of its manifest, or a prefix below which the newest manifest counts.
package struct InventoryLocation: Sendable, Equatable {
    /// Nil for the bucket that the report is about.
    package let bucket: String?
    /// Empty, or ends in `/`, for a prefix.
    package let key: ObjectKey
    package let isPrefix: Bool

    /// `KEY`, `PREFIX`, `s3://BUCKET/KEY` or `s3://BUCKET/PREFIX`; a key ends in `.json`. Nil for another dialect's
    /// bucket, or for none.
    package init?(_ text: String, in dialect: Dialect) {
        var key = text[...]
        var bucket: String?
        if let scheme = text.utf8.firstRange(of: "://".utf8) {
            guard text[..<scheme.lowerBound] == dialect.rawValue else { return nil }
            let parts = text[scheme.upperBound...].split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first, !name.isEmpty else { return nil }
            bucket = String(name)
            key = parts.count == 2 ? parts[1] : ""
        }
        guard bucket != nil || !key.isEmpty else { return nil }
        isPrefix = !key.hasSuffix(".json")
        self.bucket = bucket
        self.key = ObjectKey(isPrefix && !key.isEmpty && !key.hasSuffix("/") ? key + "/" : String(key))
    }
}
