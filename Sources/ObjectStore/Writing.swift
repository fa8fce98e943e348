package import ThawCore
package import Wire

/// The headers that travel with an object and come back with it.
package struct ObjectHeaders: Sendable, Equatable {
    /// User metadata: names in lowercase and without the vendor's prefix (`mode`, not `x-amz-meta-mode`).
    package var metadata: [String: String]
    /// `content-type`, `cache-control`, `content-disposition`, `content-encoding`, `content-language`, `expires`.
    package var standard: [String: String]

    package init(metadata: [String: String] = [:], standard: [String: String] = [:]) {
        self.metadata = metadata
        self.standard = standard
    }
}

/// What a HEAD tells of an object.
package struct ObjectDescription: Sendable {
    package var record: ObjectRecord
    package var headers: ObjectHeaders
    /// Of the whole content, in the dialect's own function (`CRC64.Function`); nil where the store tells none.
    package var checksum: UInt64?
    package var protection: ObjectProtection?

    package init(
        record: ObjectRecord, headers: ObjectHeaders, checksum: UInt64? = nil, protection: ObjectProtection? = nil
    ) {
        self.record = record
        self.headers = headers
        self.checksum = checksum
        self.protection = protection
    }
}

/// What keeps an object from being deleted or replaced: retention, and legal holds.
package struct ObjectProtection: Sendable, Equatable {
    package enum Retention: Sendable, Equatable {
        case until(Timestamp)
        /// It does not end by itself.
        case unlimited
    }

    package var retention: Retention?
    package var legalHolds: Int

    package init(retention: Retention?, legalHolds: Int) {
        self.retention = retention
        self.legalHolds = legalHolds
    }

    package func isInForce(at now: Timestamp) -> Bool {
        if legalHolds > 0 { return true }
        return switch retention {
        case .until(let end)?: end > now
        case .unlimited?: true
        case nil: false
        }
    }
}

extension ObjectProtection.Retention: CustomStringConvertible {
    /// A date, or `unlimited`.
    package var description: String {
        switch self {
        case .until(let end): WireDate.iso8601(end)
        case .unlimited: "unlimited"
        }
    }
}

extension ObjectProtection: CustomStringConvertible {
    package var description: String {
        "retention \(retention?.description ?? "none"), legal holds \(legalHolds)"
    }
}

/// When a write may take place. A store that cannot check a condition does not: `ObjectStore.checks` tells.
package enum WriteCondition: Sendable, Equatable {
    case always
    /// There is no object of this key.
    case isAbsent
    /// The object has this ETag.
    case matches(etag: String)
}

/// What an object is to be, besides its bytes.
package struct ObjectDraft: Sendable, Equatable {
    package var headers: ObjectHeaders
    /// Nil for the bucket's own.
    package var storageClass: StorageClass?
    package var condition: WriteCondition

    package init(
        headers: ObjectHeaders = ObjectHeaders(), storageClass: StorageClass? = nil, condition: WriteCondition = .always
    ) {
        self.headers = headers
        self.storageClass = storageClass
        self.condition = condition
    }
}

/// Where a copy comes from.
package struct CopySource: Sendable, Equatable {
    package var key: ObjectKey
    package var version: String?
    /// The copy fails with `preconditionFailed` if the object is another by now.
    package var etag: String?
    /// What is known of it. With it the copy keeps the class, which otherwise is the bucket's own, and what it answers
    /// of the copy costs no HEAD.
    package var record: ObjectRecord?

    package init(key: ObjectKey, version: String? = nil, etag: String? = nil, record: ObjectRecord? = nil) {
        self.key = key
        self.version = version
        self.etag = etag
        self.record = record
    }
}

/// A multipart upload that has been begun.
package struct MultipartUpload: Sendable, Hashable {
    package var key: ObjectKey
    package var id: String

    package init(key: ObjectKey, id: String) {
        self.key = key
        self.id = id
    }
}

/// What the store said of a part.
package struct UploadedPart: Sendable, Equatable {
    /// 1...10,000
    package var number: Int
    package var sizeBytes: UInt64
    package var etag: String
    /// Of the part's bytes, in the dialect's own function (`CRC64.Function`); nil for a part that was copied, where the
    /// store tells none.
    package var checksum: UInt64?

    package init(number: Int, sizeBytes: UInt64, etag: String, checksum: UInt64?) {
        self.number = number
        self.sizeBytes = sizeBytes
        self.etag = etag
        self.checksum = checksum
    }
}

/// Why one of many objects was not deleted.
package struct DeleteFailure: Sendable, Equatable {
    package var key: ObjectKey
    package var error: StoreError

    package init(key: ObjectKey, error: StoreError) {
        self.key = key
        self.error = error
    }
}
