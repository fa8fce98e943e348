import NIOCore
import ThawCore
import Wire

/// Cloud Backup's RPC endpoint: one path, an action, parameters in the query or in a form, JSON in return.
extension Exchange {
    func performBackup(_ body: [UInt8]) throws(ProviderError) -> Reply {
        let form = String(decoding: body, as: UTF8.self).split(separator: "+", omittingEmptySubsequences: false)
        guard let sent = [QueryItem](wire: form.joined(separator: "%20")) else {
            throw .badRequest("The form is malformed.")
        }
        let parameters = request.query + sent
        let nonce = try service.authorization.checkRPC(
            request, body: body, parameters, now: .now() + effects.clockSkew, tokenExpired: effects.tokenExpired)
        let call = BackupCall(
            parameters: Dictionary(parameters.map { ($0.name, $0.text) }, uniquingKeysWith: { $1 }), now: service.now)
        if operation == .createRestoreJob, call["RestoreType"] == "OSS", let bucket = call["TargetBucket"] {
            let exists = try service.catalog.perform { tables throws(ProviderError) in
                try tables.buckets().contains { $0.name == bucket }
            }
            guard exists else { throw .notFound("ResourceNotFound", "The bucket \(bucket) does not exist.") }
        }
        let reply = try service.backups.withState { state throws(ProviderError) -> JSON in
            if let nonce, !state.nonces.insert(nonce).inserted {
                throw ProviderError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
            }
            return switch operation {
            case .describeVaults: try call.describeVaults(state)
            case .searchHistoricalSnapshots: try call.searchSnapshots(state)
            case .createRestoreJob: try call.createJob(&state)
            case .describeRestoreJobs: try call.describeJobs(state)
            case .cancelRestoreJob: try call.cancelJob(&state)
            default: throw .notFound("InvalidAction.NotFound", "The emulator does not know this action.")
            }
        }
        guard case .object(var members) = reply else { return .json(reply) }
        members["RequestId"] = .string(request.id)
        members["Code"] = "200"
        members["Message"] = "successful"
        members["Success"] = true
        return .json(.object(members))
    }

    func backupReply(_ error: ProviderError) -> Reply {
        var members: [String: JSON] = [
            "RequestId": .string(request.id), "HostId": .string(request.host), "Code": .string(error.code),
            "Message": .string(error.message), "Recommend": "https://next.api.aliyun.com/troubleshoot",
        ]
        if error.status == 200 { members["Success"] = false }
        var reply = Reply.json(.object(members), status: error.status)
        reply.headers += error.headers
        return reply
    }
}

extension StoreService {
    /// Puts what restore jobs have come to restore into its buckets.
    func settleBackups() {
        backups.settle(at: now) { job, files throws(ProviderError) in
            for file in files { try store(file, as: job.key(of: file), in: job.parameters["TargetBucket"] ?? "") }
        }
    }

    private func store(_ file: Backups.File, as key: ObjectKey, in name: String) throws(ProviderError) {
        var content: [Segment] = []
        var etag = ""
        switch file.content {
        case .bytes(let bytes):
            etag = Hex.encode(Digest.md5(bytes))
            if bytes.isEmpty { break }
            let blob = try catalog.perform { tables throws(ProviderError) in try tables.newBlob() }
            var writer = try BlobWriter(blob, in: blobs)
            try writer.write(ByteBuffer(bytes: bytes))
            writer.finish()
            content = [Segment(source: .blob(blob), offset: 0, length: UInt64(bytes.count))]
        case .madeUp(let size):
            let seed = SyntheticContent.seed(bucket: name, key: key.bytes)
            etag = Hex.encode([seed, size].flatMap { number in withUnsafeBytes(of: number.bigEndian) { Array($0) } })
            if size > 0 { content = [Segment(source: .synthetic(seed: seed), offset: 0, length: size)] }
        }
        let (segments, tag) = (content, etag)
        let freed = try catalog.perform { tables throws(ProviderError) -> [Int64] in
            let bucket = try tables.bucket(name)
            var version = ObjectVersion(
                key: key, sizeBytes: file.sizeBytes, etag: tag, modified: .now(),
                archive: ArchiveRecord(storageClass: StorageClass(bucket.storageClass)), content: segments)
            try tables.retain(segments)
            return try tables.store(&version, in: bucket)
        }
        blobs.remove(freed)
    }
}

extension ProviderError {
    static func badRequest(_ message: String) -> ProviderError { ProviderError(400, "BadRequest", message) }

    static func notFound(_ code: String, _ message: String) -> ProviderError { ProviderError(404, code, message) }
}
