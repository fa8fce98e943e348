internal import Database
package import ThawCore

/// What one page of a listing without a delimiter tells of one directory.
package struct ListedPart: Sendable {
    package let prefix: ObjectKey
    /// The listing of the directory that an earlier page began; nil: this page is the first to have any of it.
    package let listing: Int64?
    package var rows: [MetadataRow] = []
    /// No later page has any of it.
    package var isLast = false

    package init(prefix: ObjectKey, listing: Int64?) {
        self.prefix = prefix
        self.listing = listing
    }
}

extension MetadataWriter {
    /// Takes in what a page that was asked for at that time tells of directories, in one transaction; those whose last
    /// part it is are listed as a whole then. Answers the number of each one's listing, nil for a directory of which
    /// something newer is known or under way: the page says nothing of it, nor will the next.
    package func record(_ parts: [ListedPart], at asked: Timestamp) throws(MetadataError) -> [Int64?] {
        try guarded { connection, statements throws(DatabaseError) in
            try connection.transaction { () throws(DatabaseError) in
                var numbers: [Int64?] = []
                numbers.reserveCapacity(parts.count)
                for part in parts { numbers.append(try Self.record(part, at: asked, statements)) }
                return numbers
            }
        }
    }

    private static func record(
        _ part: ListedPart, at asked: Timestamp, _ statements: WriteStatements
    ) throws(DatabaseError) -> Int64? {
        var listing = part.listing
        if listing == nil {
            _ = try directory(part.prefix, statements)
            try statements.beginUnlessNewer.bind(part.prefix.bytes, at: 1)
            try statements.beginUnlessNewer.bind(asked.nanoseconds, at: 2)
            listing = try statements.beginUnlessNewer.first { $0.int64(0) }
        }
        guard let listing else { return nil }
        try record(part.rows, below: part.prefix, listing: listing, statements)
        if part.isLast { try finishListing(part.prefix, listing: listing, statements) }
        return listing
    }
}
