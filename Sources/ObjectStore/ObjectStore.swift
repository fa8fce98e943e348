package import ThawCore
package import Wire

/// One bucket at one endpoint, in its dialect: the contract of everything that talks to a store.
///
/// Implementations are safe to call from any task. They do not retry: `RetryingStore` does, once, for all of them.
/// A cancelled task ends its request at once with `StoreError.cancelled`.
package protocol ObjectStore: Sendable {
    var dialect: Dialect { get }

    /// Directories at the top are places of their own (buckets): one cannot become another.
    var hasFixedTopLevel: Bool { get }

    /// A copy moves no content: frozen objects are copied and get other headers like any, and a restored copy stays.
    var copiesFrozen: Bool { get }

    /// One page of a listing, in key order. With a delimiter, keys that share a prefix up to it come as one prefix.
    /// Carries the restore state of each object where the dialect lists it (OSS `RestoreInfo`, S3 `RestoreStatus`).
    func list(_ request: ListRequest) async throws(StoreError) -> ListPage

    /// One page of the versions of objects, delete markers included: in key order, those of one key as the store has
    /// them (newest first). A bucket that never had versions lists each object once, as version `null`. Carries the
    /// restore state of each version, as `list` does.
    func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage

    /// What the store knows of one object. Works on frozen objects.
    func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord

    /// Reads `range` of the object into `sink`, which sees bytes of that range only, from its start. With `ifMatch`,
    /// an object that was replaced fails with `preconditionFailed` and delivers nothing. The range is clipped to the
    /// object's end; one that starts at or past the end fails with `invalidRange`. A body that ends early is
    /// `unavailable`, never silently short. Answers the object as the GET's headers describe it.
    func get(
        _ key: ObjectKey, version: String?, range: Range<UInt64>, ifMatch: String?, into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord

    /// Asks the provider to restore the object; the three replies are one idempotent step.
    func restore(_ key: ObjectKey, version: String?, _ order: RestoreOrder) async throws(StoreError) -> RestoreReply

    /// Ends the restored copy before its time, and the fee for it (OSS CleanRestoredObject). An object without such a
    /// copy is left as it is. `unsupported` where the dialect cannot; `invalidRequest` (`ArchiveRestoreNotFinished`)
    /// while the restore is under way. That OSS takes a version here as everywhere is assumed: no document says so.
    func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError)

    /// Whether the bucket serves class Archive without a restore (OSS `bucketArchiveDirectRead`); false for
    /// dialects without that setting and when the credentials may not ask.
    func archiveDirectRead() async throws(StoreError) -> Bool

    // MARK: Writing

    /// As `head`, with the headers that came with the object.
    func describe(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectDescription

    /// Stores an object. Its checksum is computed before it is sent and verified by the store, or by us against what
    /// the store answers: bytes that changed on the way, or while they were read, fail with `corrupted`. Answers the
    /// object as it is known now; `modified` is the store's date of the reply.
    func put(_ key: ObjectKey, _ body: Payload, _ draft: ObjectDraft) async throws(StoreError) -> ObjectRecord

    /// Copies within the store, headers and all; with `draft`, its headers and class replace the source's (S3 and OSS
    /// replace all or none). Of at most 5 GB: larger ones are copied in parts (`LargeCopy`). A frozen source fails with
    /// `invalidObjectState`.
    func copy(_ source: CopySource, to key: ObjectKey, _ draft: ObjectDraft?) async throws(StoreError) -> ObjectRecord

    /// Deletes the object, or one version of it. One that is not there is as good as deleted.
    func delete(_ key: ObjectKey, version: String?, condition: WriteCondition) async throws(StoreError)

    /// Deletes up to 1,000 objects in one request; answers those that were not.
    func delete(_ keys: [ObjectKey]) async throws(StoreError) -> [DeleteFailure]

    func beginUpload(_ key: ObjectKey, _ draft: ObjectDraft) async throws(StoreError) -> MultipartUpload
    func uploadPart(
        _ upload: MultipartUpload, number: Int, _ body: Payload
    ) async throws(StoreError) -> UploadedPart
    func copyPart(
        _ upload: MultipartUpload, number: Int, from source: CopySource, range: Range<UInt64>
    ) async throws(StoreError) -> UploadedPart
    /// Makes the object of its parts, which are in order, and checks it as a whole: where the store tells its checksum
    /// it must be the parts' combined. `draft` is that of `beginUpload`.
    func completeUpload(
        _ upload: MultipartUpload, _ parts: [UploadedPart], _ draft: ObjectDraft
    ) async throws(StoreError) -> ObjectRecord
    /// An upload that is not there is as good as aborted.
    func abortUpload(_ upload: MultipartUpload) async throws(StoreError)

    func refresh(below prefix: ObjectKey) async throws(StoreError)
    // MARK: Buckets

    /// Gets, puts or deletes a configuration of a bucket, which is a key of this store: empty, or `bucket/` in an
    /// account. Callers use `configuration`, `setConfiguration` and `deleteConfiguration`.
    func perform(
        _ operation: ConfigurationOperation, on configuration: BucketConfiguration, of place: ObjectKey
    ) async throws(StoreError) -> [UInt8]

    /// Whether the store refuses a write whose condition does not hold: `isAbsent` everywhere, `matches` on S3.
    func checks(_ condition: WriteCondition) -> Bool
}

extension ObjectStore {
    package var hasFixedTopLevel: Bool { false }
    package var copiesFrozen: Bool { false }

    /// Does what `user.thaw.refresh` asks of a directory besides forgetting what is cached: a vault's catalogue is
    /// compared with the vault. Answers once that is begun; other stores have nothing to do.
    package func refresh(below prefix: ObjectKey) async throws(StoreError) {}
}

/// Receives object bytes in order. Called on the network thread: it must not block. Valid during the call only.
package protocol ByteSink: AnyObject, Sendable {
    /// Answering false aborts the read, which fails with `StoreError.cancelled`.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool
}

package struct ListRequest: Sendable, Equatable {
    package var prefix: ObjectKey
    /// `/` or nothing.
    package var delimiter: UInt8?
    /// Only keys after this one; ignored when a continuation token is given.
    package var startAfter: ObjectKey?
    package var continuationToken: String?
    /// 1...1000
    package var keysMax: Int

    package init(
        prefix: ObjectKey, delimiter: UInt8? = UInt8(ascii: "/"), startAfter: ObjectKey? = nil,
        continuationToken: String? = nil, keysMax: Int = 1000
    ) {
        self.prefix = prefix
        self.delimiter = delimiter
        self.startAfter = startAfter
        self.continuationToken = continuationToken
        self.keysMax = keysMax
    }
}

package struct ListPage: Sendable {
    /// Objects in byte order of their keys; `prefixes` likewise. The two interleave in key order.
    package var objects: [ListedObject]
    package var prefixes: [ObjectKey]
    /// Nil when this page is the last.
    package var continuationToken: String?
    /// It names nothing, as where deleted versions are passed; there may be more after it.
    package var isEmpty: Bool { objects.isEmpty && prefixes.isEmpty }

    package init(objects: [ListedObject], prefixes: [ObjectKey], continuationToken: String?) {
        self.objects = objects
        self.prefixes = prefixes
        self.continuationToken = continuationToken
    }
}

package struct ListedObject: Sendable {
    package var key: ObjectKey
    package var record: ObjectRecord

    package init(key: ObjectKey, record: ObjectRecord) {
        self.key = key
        self.record = record
    }
}

/// What a store says of one object, from a listing, a HEAD or the headers of a GET.
package struct ObjectRecord: Sendable, Equatable {
    package var sizeBytes: UInt64
    package var modified: Timestamp
    /// With its quotes, as the store sent it; what `If-Match` takes.
    package var etag: String
    package var storageClass: StorageClass
    package var restore: RestoreHeader?
    /// S3 Intelligent-Tiering: `ARCHIVE_ACCESS` or `DEEP_ARCHIVE_ACCESS` while archived (`x-amz-archive-status`); HEAD
    /// only. Empty where a HEAD told that there is none.
    package var archiveStatus: String?
    package var versionID: String?
    /// What a HEAD, a GET or our own write told of the file; nil: unknown, as listings do not tell.
    package var attributes: FileAttributes?

    package init(
        sizeBytes: UInt64, modified: Timestamp, etag: String, storageClass: StorageClass,
        restore: RestoreHeader? = nil, archiveStatus: String? = nil, versionID: String? = nil,
        attributes: FileAttributes? = nil
    ) {
        self.sizeBytes = sizeBytes
        self.modified = modified
        self.etag = etag
        self.storageClass = storageClass
        self.restore = restore
        self.archiveStatus = archiveStatus
        self.versionID = versionID
        self.attributes = attributes
    }
}

extension ObjectRecord {
    /// The archive status of what was listed by a store whose listings tell nothing of archives.
    static let unlistedStatus = "UNLISTED"

    /// Only a HEAD can tell whether the object is frozen: a listing told of it, and it is of Intelligent-Tiering, or
    /// the store is IBM COS.
    package var mayBeArchivedUnseen: Bool {
        archiveStatus == Self.unlistedStatus || archiveStatus == nil && storageClass.name == "INTELLIGENT_TIERING"
    }

    /// A HEAD of an Intelligent-Tiering object that shows no archive status says that there is none; a listing that
    /// shows none says nothing.
    package mutating func settleArchiveStatus() {
        if mayBeArchivedUnseen { archiveStatus = "" }
    }
}

package struct RestoreOrder: Sendable, Hashable {
    /// Days that the restored copy is to last; nil where none can be asked for (S3 Intelligent-Tiering).
    package var days: Int?
    /// Nil for a class without tiers (OSS Archive).
    package var tier: RestoreTier?

    package init(days: Int?, tier: RestoreTier?) {
        self.days = days
        self.tier = tier
    }
}

package enum RestoreReply: Sendable, Hashable {
    /// 202: this request started the restore (or raised its tier).
    case started
    /// 200: a restored copy was there already; its window was extended.
    case alreadyRestored
    /// 409: somebody, perhaps we, asked before.
    case alreadyInProgress
}

/// What a store answered instead of what was asked, or why it did not answer.
package struct StoreError: Error, Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        case noSuchKey
        case noSuchBucket
        /// If-Match did not match: the object was replaced.
        case preconditionFailed
        /// The object is frozen (403 InvalidObjectState).
        case invalidObjectState
        /// A range that starts at or past the object's end (416).
        case invalidRange
        /// 403 or 401 that is about who we are: wrong key, signature, expired token, policy.
        case denied
        /// The clocks differ by more than the store allows (RequestTimeTooSkewed).
        case clockSkew
        /// A restore of an object whose class needs none.
        case notArchived
        /// Expedited refused for want of capacity (GlacierExpeditedRetrievalNotAvailable).
        case tierUnavailable
        /// The dialect has no such operation; nothing was sent.
        case unsupported
        /// 400 of any other kind: the request will never succeed as it is.
        case invalidRequest
        /// 429, 503 SlowDown and their kin.
        case throttled
        /// 5xx, no connection, a connection that broke, a short body.
        case unavailable
        /// The store took too long.
        case timeout
        /// A reply that makes no sense: malformed XML, a listing that loops, a 200 with an error body, a wrong length.
        case nonsense
        /// The bytes that the store has are not those that were sent, or the checksums say so.
        case corrupted
        /// A multipart upload that is not there (any more).
        case noSuchUpload
        /// The bytes to be sent cannot be read on this machine; `message` says why.
        case unreadable
        /// The key is longer than the store can keep.
        case keyTooLong
        /// Retention, a legal hold or object lock forbids it.
        case protected
        /// A bucket that is to be deleted has objects.
        case notEmpty
        /// The bucket has no such configuration.
        case noSuchConfiguration
        /// A copy from or to where the store copies nothing: another region, a bucket that is not there.
        case elsewhere
        /// The task was cancelled, or the mount is stopping.
        case cancelled
    }

    package var kind: Kind
    /// 0 when there was no reply.
    package var status: Int
    /// The provider's own code (`InvalidObjectState`, `SlowDown`) or our word for a failed exchange.
    package var code: String
    package var message: String
    package var requestID: String?
    /// From `Retry-After`, when the store named a delay.
    package var retryAfter: Duration?

    package init(
        _ kind: Kind, status: Int = 0, code: String, message: String, requestID: String? = nil,
        retryAfter: Duration? = nil
    ) {
        self.kind = kind
        self.status = status
        self.code = code
        self.message = message
        self.requestID = requestID
        self.retryAfter = retryAfter
    }

    /// Whether the same request may succeed when it is sent again a little later.
    package var isTransient: Bool {
        switch kind {
        case .throttled, .unavailable, .timeout, .clockSkew, .nonsense: true
        default: false
        }
    }
}

extension StoreError: CustomStringConvertible {
    /// For logs: the provider's code and message, status and request id.
    package var description: String {
        var text = "\(code): \(message)"
        if status != 0 { text += " (HTTP \(status)" + (requestID.map { ", request id \($0)" } ?? "") + ")" }
        return text
    }
}
