import NIOCore
import ThawCore
import Wire

extension Exchange {
    private static let block = UInt64(TreeETag.blockBytes)

    func performOnJob(_ body: ReceivedBody) throws(ProviderError) -> Reply {
        switch operation {
        case .createJob: try createJob(body.bytes)
        case .listJobs:
            .json(try page("JobList", try jobs().map { ($0.id, $0.json(at: service.now)) }, limitMax: 1000))
        case .describeJob: .json(try job().json(at: service.now))
        default: try jobOutput()
        }
    }

    // MARK: - Starting

    private func createJob(_ bytes: [UInt8]) throws(ProviderError) -> Reply {
        guard let ask = JSON(bytes) else {
            throw ProviderError(400, "JobJsonFormatError", "The body is not JSON.")
        }
        let (now, fails) = (service.now, effects.restoreFails)
        return try withVault { tables, vault throws(ProviderError) in
            var job = try Self.job(ask, tables, vault, at: now)
            if fails { (job.outcome, job.isSettled, job.message) = (.failed, true, "The job failed.") }
            try tables.store(job, of: vault, isNew: true)
            return Reply(
                202, headers: [("x-oas-job-id", job.id), ("Location", "/vaults/\(vault.id)/jobs/\(job.id)")])
        }
    }

    private static func job(
        _ ask: JSON, _ tables: CatalogTables, _ vault: Vault, at now: Timestamp
    ) throws(ProviderError) -> VaultJob {
        let actions: [String: VaultJob.Action] = [
            "archive-retrieval": .archiveRetrieval, "inventory-retrieval": .inventoryRetrieval,
            "pull-from-oss": .pullFromOSS, "push-to-oss": .pushToOSS,
        ]
        guard let action = ask["Type"]?.string.flatMap({ actions[$0] }) else {
            throw .invalidArgument("There is no job of this type.")
        }
        var job = VaultJob(id: try tables.newID(), action: action, created: now, ready: now + action.duration)
        job.description = ask["Description"]?.string ?? ""
        if action == .archiveRetrieval || action == .pushToOSS {
            let archive = try tables.archive(ask["ArchiveId"]?.string ?? "", in: vault)
            try job.take(archive, ask["RetrievalByteRange"]?.string)
        }
        switch action {
        case .archiveRetrieval: break
        case .inventoryRetrieval:
            job.inventory = inventory(of: vault, try tables.takeStock(of: vault, at: now), at: now)
        case .pullFromOSS, .pushToOSS:
            guard let bucket = ask["Bucket"]?.string, let object = ask["Object"]?.string, ask["OSSHost"]?.string != nil
            else { throw ProviderError(400, "MissingArgument", "OSSHost, Bucket and Object are required.") }
            (job.bucket, job.object, job.isSettled) = (bucket, object, false)
        }
        return job
    }

    static func inventory(of vault: Vault, _ archives: [StoredArchive], at now: Timestamp) -> String {
        JSON.object([
            "VaultId": .string(vault.id), "InventoryDate": .string(WireDate.rfc1123(now)),
            "ArchiveList": .array(archives.map(\.json)),
        ]).text
    }

    // MARK: - Looking

    /// The vault's jobs, with those transfers done whose time has come.
    private func jobs() throws(ProviderError) -> [VaultJob] {
        let now = service.now
        let (jobs, freed) = try withVault { tables, vault throws(ProviderError) in
            var (jobs, freed) = try tables.jobs(of: vault, at: now)
            for index in jobs.indices where !jobs[index].isSettled && now >= jobs[index].ready {
                freed += try settle(&jobs[index], tables, vault)
                try tables.store(jobs[index], of: vault, isNew: false)
            }
            return (jobs, freed)
        }
        service.blobs.remove(freed)
        return jobs
    }

    private func job() throws(ProviderError) -> VaultJob {
        guard let job = try jobs().first(where: { $0.id == pathID }) else { throw .noSuch("Job") }
        return job
    }

    private func settle(
        _ job: inout VaultJob, _ tables: CatalogTables, _ vault: Vault
    ) throws(ProviderError) -> [Int64] {
        (job.isSettled, job.outcome) = (true, .succeeded)
        do throws(ProviderError) {
            let bucket = try tables.bucket(job.bucket)
            if job.action == .pullFromOSS {
                try pull(&job, tables, vault, bucket)
                return []
            }
            return try push(job, tables, bucket)
        } catch {
            (job.outcome, job.message) = (.failed, "\(error.code): \(error.message)")
            return []
        }
    }

    private func pull(
        _ job: inout VaultJob, _ tables: CatalogTables, _ vault: Vault, _ bucket: Bucket
    ) throws(ProviderError) {
        guard let object = try tables.current(bucket, ObjectKey(job.object)), !object.isDeleteMarker else {
            throw .noSuchKey
        }
        switch object.archive.state(at: service.now) {
        case .online, .restored: break
        case .frozen, .restoring: throw .invalidObjectState(object, .oas, isCopySource: true)
        }
        guard object.sizeBytes > 0 else { throw .invalidArgument("There are no archives of zero bytes.") }
        let archive = StoredArchive(
            id: try tables.newID(), description: job.description, created: job.ready, sizeBytes: object.sizeBytes,
            leaves: try leaves(of: object.content), content: object.content)
        try tables.insert(archive, in: vault)
        (job.archive, job.archiveBytes, job.archiveTree) = (archive.id, archive.sizeBytes, archive.treeETag)
    }

    private func push(_ job: VaultJob, _ tables: CatalogTables, _ bucket: Bucket) throws(ProviderError) -> [Int64] {
        var object = ObjectVersion(
            key: ObjectKey(job.object), sizeBytes: job.archiveBytes, etag: job.archiveTree.lowercased(),
            modified: .now(), archive: ArchiveRecord(storageClass: StorageClass(bucket.storageClass)),
            content: job.content)
        try tables.retain(object.content)
        return try tables.store(&object, in: bucket)
    }

    private func leaves(of content: [Segment]) throws(ProviderError) -> [String] {
        let reader = ContentReader(content, blobs: service.blobs, lease: lease, sendsFiles: false)
        defer { reader.close() }
        var tree = TreeETag()
        while let piece = try reader.next(max: 1 << 20) {
            if case .byteBuffer(let buffer) = piece.data { buffer.withUnsafeReadableBytes { tree.update($0) } }
            ContentReader.close(piece.finished)
        }
        return tree.leaves
    }

    // MARK: - Output

    private func jobOutput() throws(ProviderError) -> Reply {
        let job = try job()
        guard job.action.hasOutput else { throw ProviderError(400, "JobNoOutput", "The job has no output.") }
        switch job.state(at: service.now) {
        case .inProgress: throw ProviderError(400, "JobNotReady", "The job is not complete.")
        case .failed: throw ProviderError(400, "JobNoOutput", "The job failed.")
        case .succeeded: break
        }
        let isInventory = job.action == .inventoryRetrieval
        let inventory = Array(job.inventory.utf8)
        let sizeBytes = isInventory ? UInt64(inventory.count) : UInt64(job.range.count)
        var headers = [("Content-Type", isInventory ? "application/json" : "application/octet-stream")]
        let range = try request.header("range").map { text throws(ProviderError) in
            try Self.outputRange(text, sizeBytes)
        }
        let part = range ?? 0..<sizeBytes
        if !isInventory, let leaves = job.leaves(of: part) {
            headers.append(("x-oas-tree-etag", TreeETag.root(of: leaves)))
        }
        if range != nil {
            headers.append(("Content-Range", "bytes=\(part.lowerBound)-\(part.upperBound - 1)/\(sizeBytes)"))
        }
        let body: Reply.Body =
            isInventory
            ? .bytes(Array(inventory[Int(part.lowerBound)..<Int(part.upperBound)])) : .content(job.content.slice(part))
        return Reply(range == nil ? 200 : 206, headers: headers, body: body)
    }

    /// `bytes=s-e`, made of whole blocks but at the output's end.
    private static func outputRange(_ text: String, _ sizeBytes: UInt64) throws(ProviderError) -> Range<UInt64> {
        let numbers = text.dropFirst("bytes=".count).split(separator: "-").map { UInt64($0) }
        guard text.hasPrefix("bytes="), numbers.count == 2, let start = numbers[0], let last = numbers[1],
            start.isMultiple(of: block), start <= last, start < sizeBytes,
            (last + 1).isMultiple(of: block) || last + 1 == sizeBytes
        else { throw ProviderError(413, "InvalidRange", "The range is not made of whole mebibytes of the output.") }
        return start..<min(last + 1, sizeBytes)
    }
}

extension VaultJob {
    mutating func take(_ archive: StoredArchive, _ text: String?) throws(ProviderError) {
        let block = UInt64(TreeETag.blockBytes)
        var wanted = 0..<archive.sizeBytes
        if let text, !text.isEmpty {
            let numbers = text.split(separator: "-").map { UInt64($0) }
            guard numbers.count == 2, let start = numbers[0], let last = numbers[1], start <= last,
                start.isMultiple(of: block), last < archive.sizeBytes,
                (last + 1).isMultiple(of: block) || last + 1 == archive.sizeBytes
            else { throw ProviderError(413, "InvalidRange", "The range is not made of whole mebibytes.") }
            wanted = start..<last + 1
        }
        (self.archive, archiveBytes, archiveTree) = (archive.id, archive.sizeBytes, archive.treeETag)
        range = wanted
        content = archive.content.slice(wanted)
        let (first, last) = (Int(wanted.lowerBound / block), Int((wanted.upperBound - 1) / block))
        leaves = Array(archive.leaves[first...last])
    }

    /// Of a part of the output that is made of whole blocks; nil for another.
    fileprivate func leaves(of part: Range<UInt64>) -> [String]? {
        let block = UInt64(TreeETag.blockBytes)
        guard !leaves.isEmpty, part.lowerBound.isMultiple(of: block),
            part.upperBound.isMultiple(of: block) || part.upperBound == UInt64(range.count)
        else { return nil }
        let (first, last) = (Int(part.lowerBound / block), Int((part.upperBound - 1) / block))
        return Self.isSubtree(first...last, of: leaves.count) ? Array(leaves[first...last]) : nil
    }

    /// Whether one node of the tree stands for these blocks.
    static func isSubtree(_ blocks: ClosedRange<Int>, of total: Int) -> Bool {
        var width = 1
        while width < blocks.count { width *= 2 }
        return blocks.lowerBound.isMultiple(of: width) && (blocks.count == width || blocks.upperBound == total - 1)
    }
}
