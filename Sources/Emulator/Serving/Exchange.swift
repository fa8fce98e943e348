import NIOCore
import NIOHTTP1
import ThawCore
import Wire

/// One request and its reply. Confined to its connection's event loop; every step blocks for the length of a
/// few SQLite statements at the most.
final class Exchange {
    let service: StoreService
    let request: StoreRequest
    let operation: Operation
    /// What is to go wrong.
    let effects: Effects
    /// What is found to be the content stays readable until it is sent, whoever overwrites it.
    let lease: BlobStore.Lease
    private var intake: BodyIntake?
    private var refusal: ProviderError?
    /// The date that was written last.
    private var written: (seconds: Int64, text: String)?
    private(set) var bytesIn: UInt64 = 0

    /// Checks the request as far as its head allows; a refusal is kept for `finish`.
    init(_ request: StoreRequest, service: StoreService) {
        self.service = service
        self.request = request
        lease = service.blobs.lease()
        operation = Operation(request)
        effects = service.faults.strike(request, operation)
        do throws(ProviderError) {
            try begin()
        } catch {
            refusal = error
        }
    }

    /// Whether the body is wanted; if not, a client that asks first (`Expect: 100-continue`) is told the
    /// outcome.
    var isRefused: Bool { refusal != nil }

    private func begin() throws(ProviderError) {
        service.settleBackups()
        if let error = effects.error { throw error }
        if operation.isBackup {
            // What is signed may be in the body.
            intake = try BodyIntake(request, signatures: nil, upload: nil)
            return
        }
        if operation != .issueToken {
            try service.authorization.check(
                request,
                now: .now() + effects.clockSkew,
                tokenExpired: effects.tokenExpired
            )
        }
        if operation == .unsupported {
            throw .notImplemented("\(request.method) of \(request.wirePath)?\(request.query.wire)")
        }
        let signatures = service.authorization.chunkSignatures(request)
        switch operation {
        case .uploadArchive, .uploadArchivePart:
            try checkArchiveUpload()
            let blob = try service.catalog.perform { tables throws(ProviderError) in try tables.newBlob() }
            intake = try BodyIntake(request, signatures: nil, upload: (blob, service.blobs))
        case .putObject, .uploadPart:
            try checkUpload()
            let blob = try service.catalog.perform { tables throws(ProviderError) in try tables.newBlob() }
            intake = try BodyIntake(request, signatures: signatures, upload: (blob, service.blobs))
        default:
            intake = try BodyIntake(request, signatures: signatures, upload: nil)
        }
    }

    func receive(_ buffer: ByteBuffer) {
        var buffer = buffer
        if effects.corrupts, bytesIn == 0, let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) {
            buffer.setInteger(~first, at: buffer.readerIndex)
        }
        bytesIn += UInt64(buffer.readableBytes)
        guard refusal == nil else { return }
        do throws(ProviderError) {
            try intake?.receive(buffer)
        } catch {
            refusal = error
        }
    }

    /// The client went away before its body was complete.
    func abandon() { intake?.abandon() }

    /// Does what was asked.
    func finish() -> Reply {
        do throws(ProviderError) {
            if let refusal { throw refusal }
            guard let body = try intake?.finish() else { throw .internalError("no body was taken in") }
            if let error = effects.errorBody { throw error }
            return try perform(body)
        } catch {
            intake?.abandon()
            return reply(error)
        }
    }

    private func perform(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        switch operation {
        case .listBuckets: try listBuckets()
        case .createBucket: try createBucket(body.bytes)
        case .deleteBucket: try deleteBucket()
        case .headBucket: try headBucket()
        case .getBucketInfo: try bucketInfo()
        case .getBucketLocation: try bucketLocation()
        case .getBucketVersioning: try bucketVersioning()
        case .putBucketVersioning: try setBucketVersioning(body.bytes)
        case .getArchiveDirectRead: try archiveDirectRead()
        case .putArchiveDirectRead: try setArchiveDirectRead(body.bytes)
        case .getConfiguration: try getConfiguration()
        case .putConfiguration: try putConfiguration(body)
        case .deleteConfiguration: try deleteConfiguration()
        case .listObjects: try listObjects()
        case .listObjectsV2: try listObjectsV2()
        case .listObjectVersions: try listObjectVersions()
        case .listMultipartUploads: try listMultipartUploads()
        case .deleteObjects: try deleteObjects(body.bytes)
        case .putObject: try putObject(body)
        case .getObject, .headObject: try getObject()
        case .getObjectMeta: try getObjectMeta()
        case .deleteObject: try deleteObject()
        case .copyObject: try copyObject()
        case .restoreObject: try restoreObject(body.bytes)
        case .cleanRestoredObject: try cleanRestoredObject()
        case .createMultipartUpload: try createMultipartUpload()
        case .uploadPart: try uploadPart(body)
        case .uploadPartCopy: try uploadPartCopy()
        case .listParts: try listParts()
        case .completeMultipartUpload: try completeMultipartUpload(body.bytes)
        case .abortMultipartUpload: try abortMultipartUpload()
        case .createVault, .deleteVault, .describeVault, .listVaults: try performOnVault()
        case .uploadArchive, .deleteArchive, .describeArchive, .createArchiveUpload, .listArchiveUploads,
            .uploadArchivePart, .listArchiveParts, .completeArchiveUpload, .abortArchiveUpload:
            try performOnArchive(body)
        case .createJob, .listJobs, .describeJob, .getJobOutput: try performOnJob(body)
        case .issueToken: try issueToken(body.bytes)
        case .changeLegalHold: try changeLegalHold()
        case .getLegalHold: try legalHold()
        case .extendRetention: try extendRetention()
        case .getObjectRetention: try objectRetention()
        case .putObjectRetention: try setObjectRetention(body.bytes)
        case .getObjectLegalHold: try objectLegalHold()
        case .putObjectLegalHold: try setObjectLegalHold(body.bytes)
        case .unsupported: throw .notImplemented(request.method)
        case .describeVaults, .searchHistoricalSnapshots, .createRestoreJob, .describeRestoreJobs, .cancelRestoreJob,
            .unsupportedBackup:
            try performBackup(body.bytes)
        }
    }

    /// The error as the dialect sends it: a document, or for HEAD OSS's header with the document in base64.
    func reply(_ error: ProviderError) -> Reply {
        if operation.isBackup { return backupReply(error) }
        if operation == .issueToken { return tokenRefusal(error) }
        var headers = error.headers
        if request.dialect == .oas { return .json(error.json, status: error.status, headers: headers) }
        if request.dialect == .oss, let ec = error.ec { headers.append(("x-oss-ec", ec)) }
        let resource = String(decoding: PercentEncoding.decode(request.wirePath) ?? [], as: UTF8.self)
        let document = error.document(
            request.dialect,
            requestID: request.id,
            host: request.host,
            resource: resource
        )
        if request.method == "HEAD" {
            if request.dialect == .oss { headers.append(("x-oss-err", Base64.encode(document))) }
            return Reply(error.status, headers: headers)
        }
        if error.status == 304 { return Reply(304, headers: headers) }
        headers.append(("Content-Type", "application/xml"))
        return Reply(error.status, headers: headers, body: .bytes(document))
    }

    // MARK: - What operations share

    /// Runs `body` on the request's bucket in one transaction.
    func withBucket<Result: Sendable>(
        _ body: (CatalogTables, Bucket) throws(ProviderError) -> Result
    ) throws(ProviderError) -> Result {
        guard let name = request.bucketName else { throw .noSuchBucket }
        return try withBucket(named: name, body)
    }

    func withBucket<Result: Sendable>(
        named name: String, _ body: (CatalogTables, Bucket) throws(ProviderError) -> Result
    ) throws(ProviderError) -> Result {
        try service.catalog.perform { tables throws(ProviderError) in
            try body(tables, try tables.bucket(name))
        }
    }

    /// The version that the request names, or the current one.
    func version(
        _ tables: CatalogTables,
        _ bucket: Bucket,
        _ key: ObjectKey,
        id: String?
    ) throws(ProviderError) -> ObjectVersion {
        let marker = [(request.vendorPrefix + "delete-marker", "true")]
        guard let id else {
            guard let current = try tables.current(bucket, key) else { throw keyed(.noSuchKey, key) }
            guard !current.isDeleteMarker else {
                var error = keyed(.noSuchKey, key)
                error.headers = marker + [(request.vendorPrefix + "version-id", current.versionID)]
                throw error
            }
            return current
        }
        guard let version = try tables.version(bucket, key, id: id) else { throw keyed(.noSuchVersion, key) }
        guard !version.isDeleteMarker else {
            throw ProviderError(
                405,
                "MethodNotAllowed",
                "The specified method is not allowed against this resource.",
                headers: marker
            )
        }
        return version
    }

    private func keyed(_ error: ProviderError, _ key: ObjectKey) -> ProviderError {
        var error = error
        error.details = [("Key", key.description)]
        return error
    }

    /// `x-oss-version-id`, where the bucket has or had versions.
    func versionHeader(_ bucket: Bucket, _ version: ObjectVersion) -> [(name: String, value: String)] {
        bucket.versioning == .never ? [] : [(request.vendorPrefix + "version-id", version.versionID)]
    }

    /// A date as documents have it: the providers round to seconds, and oss2 reads nothing finer.
    /// Neighbours in a listing were often written in the same second.
    func wholeSeconds(_ time: Timestamp) -> String {
        if let written, written.seconds == time.seconds { return written.text }
        let text = WireDate.iso8601(Timestamp(seconds: time.seconds))
        written = (time.seconds, text)
        return text
    }

    /// The namespace of S3's documents; OSS's have none, and its SDKs find nothing in one.
    var namespace: String? { request.dialect.speaksS3 ? "http://s3.amazonaws.com/doc/2006-03-01/" : nil }
}

/// Runs a reader over a request's document, whatever is wrong with it being `MalformedXML`.
func readDocument<Result>(
    _ bytes: [UInt8],
    _ read: (inout XMLReader) throws(XMLError) -> Result
) throws(ProviderError) -> Result {
    do throws(XMLError) {
        var xml = try XMLReader(bytes)
        let result = try read(&xml)
        try xml.finish()
        return result
    } catch {
        throw .malformedXML
    }
}
