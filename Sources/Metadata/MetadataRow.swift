package import Database
package import ObjectStore
package import ThawCore
package import Wire

/// One name below a directory as the store holds it.
package struct MetadataRow: Sendable {
    package enum Kind: Sendable, Equatable {
        /// The store was asked, and there is no such key.
        case absent
        case object(ObjectRecord)
        /// What its marker told of it; nil: unknown, as listings do not tell.
        case directory(FileAttributes?)
    }

    /// The key after the directory's prefix; `name/` for a directory.
    package var segment: [UInt8]
    package var kind: Kind
    /// When the store was asked.
    package var checkedAt: Timestamp

    package init(segment: [UInt8], kind: Kind, checkedAt: Timestamp) {
        self.segment = segment
        self.kind = kind
        self.checkedAt = checkedAt
    }

    package var isDirectory: Bool { if case .directory = kind { true } else { false } }
}

/// How far a directory's contents are known.
package struct ListingState: Sendable, Equatable {
    /// Number of the newest listing begun; 0 when there was none.
    package var listing: Int64
    package var startedAt: Timestamp
    /// When the newest complete listing began; `.epoch` when there was none.
    package var listedAt: Timestamp

    package init(listing: Int64, startedAt: Timestamp, listedAt: Timestamp) {
        self.listing = listing
        self.startedAt = startedAt
        self.listedAt = listedAt
    }

    package static let none = ListingState(listing: 0, startedAt: .epoch, listedAt: .epoch)
}

package enum MetadataError: Error, Sendable {
    case database(DatabaseError)
    /// The file was written by a thawfs that knows a newer schema.
    case newerVersion(Int)
    /// Another mount holds the store: its process and mountpoint, as far as it said.
    case inUse(holder: String)
    /// The state directory cannot be made or written: path and errno.
    case directory(path: String, errno: Int32)
}

extension MetadataError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .database(let error): "metadata store: \(error)"
        case .newerVersion(let version):
            "the metadata store was written by a newer thawfs (schema \(version)); use that one, or another state_dir"
        case .inUse(let holder): "already mounted by \(holder): one mount per bucket and state_dir"
        case .directory(let path, let code): "state directory \(path): \(errorText(code))"
        }
    }
}
