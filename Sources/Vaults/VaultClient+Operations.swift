internal import HTTP
package import ObjectStore
package import ThawCore
internal import Wire

/// What the store tells of a vault. The counts are as of its last inventory.
package struct VaultDescription: Sendable, Equatable {
    package var id: String
    package var name: String
    package var archiveCount: Int
    package var inventoried: Timestamp?

    init?(_ json: JSON) {
        guard let id = json["VaultId"]?.string, let name = json["VaultName"]?.string else { return nil }
        self.id = id
        self.name = name
        archiveCount = json["NumberOfArchives"]?.int ?? 0
        inventoried = json["LastInventoryDate"]?.string.flatMap { WireDate.parseRFC1123($0) }
    }
}

/// What a job is to do.
package enum JobOrder: Sendable, Equatable {
    case retrieve(archive: String)
    case inventory
    /// The archive's description is the job's.
    case pull(OSSPlace, description: String)
    case push(archive: String, OSSPlace)

    /// By which the job can be told from others.
    package var description: String {
        switch self {
        case .retrieve, .inventory: "thawfs"
        case .pull(_, let description): description
        case .push(_, let place): "oss://\(place.bucket)/\(place.key)"
        }
    }

    var json: JSON {
        var members: [String: JSON] = ["Description": .string(description)]
        switch self {
        case .retrieve(let archive): members.merge(["Type": "archive-retrieval", "ArchiveId": .string(archive)]) { $1 }
        case .inventory: members["Type"] = "inventory-retrieval"
        case .pull(let place, _):
            members["Type"] = "pull-from-oss"
            members.merge(place.members) { $1 }
        case .push(let archive, let place):
            members.merge(["Type": "push-to-oss", "ArchiveId": .string(archive)]) { $1 }
            members.merge(place.members) { $1 }
        }
        return .object(members)
    }
}

/// An object of OSS in the vault's region.
package struct OSSPlace: Sendable, Equatable {
    /// The region's internal host.
    package var host: String
    package var bucket: String
    package var key: String

    package init(host: String, bucket: String, key: String) {
        self.host = host
        self.bucket = bucket
        self.key = key
    }

    fileprivate var members: [String: JSON] {
        ["OSSHost": .string(host), "Bucket": .string(bucket), "Object": .string(key)]
    }
}

/// What the store tells of a job.
package struct VaultJob: Sendable, Equatable {
    package enum Action: String, Sendable {
        case archiveRetrieval = "ArchiveRetrieval"
        case inventoryRetrieval = "InventoryRetrieval"
        case pullFromOSS = "PullFromOSS"
        case pushToOSS = "PushToOSS"
    }

    package enum State: String, Sendable {
        case inProgress = "InProgress"
        case succeeded = "Succeeded"
        case failed = "Failed"
    }

    package var id: String
    /// Nil for one that we do not know.
    package var action: Action?
    package var state: State
    package var archive: String
    package var description: String
    package var message: String
    package var created: Timestamp?
    package var completed: Timestamp?
    /// The archive's, or -1 as the store writes it.
    package var archiveBytes: Int
    package var archiveTree: String
    /// Whether its output is the whole archive.
    var isWhole: Bool

    init?(_ json: JSON) {
        guard let id = json["JobId"]?.string, let state = json["StatusCode"]?.string.flatMap(State.init) else {
            return nil
        }
        func text(_ name: String) -> String { json[name]?.string ?? "" }
        self.id = id
        self.state = state
        action = Action(rawValue: text("Action"))
        archive = text("ArchiveId")
        description = text("JobDescription")
        message = text("StatusMessage")
        created = WireDate.parseRFC1123(text("CreationDate"))
        completed = WireDate.parseRFC1123(text("CompletionDate"))
        archiveBytes = json["ArchiveSizeInBytes"]?.int ?? -1
        archiveTree = text("ArchiveTreeEtag")
        let range = text("RetrievalByteRange")
        isWhole = range.isEmpty || archiveBytes > 0 && range == "0-\(archiveBytes - 1)"
    }

    package var json: JSON {
        [
            "id": .string(id), "action": JSON(action?.rawValue), "state": .string(state.rawValue),
            "archive": archive.isEmpty ? .null : .string(archive), "description": .string(description),
            "message": .string(message), "created": JSON(created.map { WireDate.iso8601($0) }),
            "completed": JSON(completed.map { WireDate.iso8601($0) }),
            "archive_bytes": archiveBytes < 0 ? .null : JSON(archiveBytes),
        ]
    }
}

extension VaultClient {
    // MARK: - Vaults

    package func vaults() async throws(StoreError) -> [VaultDescription] {
        try await all("", "VaultList", limit: 10) { VaultDescription($0) }
    }

    /// The vault of this name; `noSuchBucket` if there is none.
    package func vault(named name: String) async throws(StoreError) -> VaultDescription {
        guard let vault = try await vaults().first(where: { $0.name == name }) else {
            throw StoreError(.noSuchBucket, code: "VaultNotExists", message: "there is no vault \(name)")
        }
        return vault
    }

    /// Answers the id, also of a vault that is there already.
    package func createVault(_ name: String) async throws(StoreError) -> String {
        let response = try await send(
            Request(method: .put, path: "/" + PercentEncoding.encode(name)), expecting: [200, 201])
        return try id("x-oas-vault-id", response)
    }

    package func deleteVault(_ id: String) async throws(StoreError) {
        _ = try await send(Request(method: .delete, path: "/\(id)"), expecting: [200, 204])
    }

    // MARK: - Archives

    struct Made: Sendable {
        var id: String
        var date: Timestamp
    }

    func upload(
        _ body: Payload, _ sum: ArchiveSum, description: String, to vault: String
    ) async throws(StoreError) -> Made {
        let response = try await send(
            Request(
                method: .post, path: "/\(vault)/archives",
                headers: sum.headers + [("x-oas-archive-description", description)], body: body, timeout: nil,
                stallMax: Self.serverWorkMax, isSentOnce: true),
            expecting: [201])
        return try await made(response, tree: sum.tree, in: vault)
    }

    /// An archive that is not there is as good as deleted.
    func deleteArchive(_ archive: String, of vault: String) async throws(StoreError) {
        do throws(StoreError) {
            _ = try await send(
                Request(method: .delete, path: "/\(vault)/archives/\(archive)"), expecting: [200, 204])
        } catch {
            guard error.kind == .noSuchKey else { throw error }
        }
    }

    func beginUpload(partBytes: UInt64, description: String, to vault: String) async throws(StoreError) -> String {
        let response = try await send(
            Request(
                method: .post, path: "/\(vault)/multipart-uploads",
                headers: [("x-oas-part-size", "\(partBytes)"), ("x-oas-archive-description", description)]),
            expecting: [201])
        return try id("x-oas-multipart-upload-id", response)
    }

    func uploadPart(
        _ body: Payload, _ sum: ArchiveSum, at start: UInt64, of upload: String, to vault: String
    ) async throws(StoreError) {
        let range = (name: "content-range", value: "\(start)-\(start + body.sizeBytes - 1)")
        _ = try await send(
            Request(
                method: .put, path: "/\(vault)/multipart-uploads/\(upload)", headers: sum.headers + [range], body: body,
                timeout: nil, stallMax: Self.serverWorkMax),
            expecting: [200, 204])
    }

    func completeUpload(
        _ upload: String, sizeBytes: UInt64, tree: String, of vault: String
    ) async throws(StoreError) -> Made {
        let response = try await send(
            Request(
                method: .post, path: "/\(vault)/multipart-uploads/\(upload)",
                headers: [("x-oas-archive-size", "\(sizeBytes)"), ("x-oas-tree-etag", tree)],
                timeout: Self.serverWorkMax, stallMax: Self.serverWorkMax, isSentOnce: true),
            expecting: [200, 201])
        return try await made(response, tree: tree, in: vault)
    }

    func abortUpload(_ upload: String, of vault: String) async throws(StoreError) {
        do throws(StoreError) {
            _ = try await send(
                Request(method: .delete, path: "/\(vault)/multipart-uploads/\(upload)"), expecting: [200, 204])
        } catch {
            guard error.kind == .noSuchUpload || error.kind == .noSuchKey else { throw error }
        }
    }

    /// What was made; if it is not what was sent, it is deleted.
    private func made(_ response: HTTPResponse, tree: String, in vault: String) async throws(StoreError) -> Made {
        let made = Made(id: try id("x-oas-archive-id", response), date: date(response))
        guard let told = response.head["x-oas-tree-etag"], told.uppercased() != tree else { return made }
        // It would get the file's name with the next inventory.
        try? await deleteArchive(made.id, of: vault)
        throw StoreError(
            .corrupted, status: response.status, code: "TreeEtagMismatch",
            message: "the store has bytes of tree-etag \(told), and \(tree) was sent", requestID: requestID(response))
    }

    // MARK: - Jobs

    package func startJob(_ order: JobOrder, in vault: String) async throws(StoreError) -> String {
        let response = try await send(
            Request(
                method: .post, path: "/\(vault)/jobs", headers: [("content-type", "application/json")],
                body: .bytes(Array(order.json.text.utf8)), timeout: Self.jobStartMax, stallMax: Self.jobStartMax,
                isSentOnce: true),
            expecting: [200, 202])
        return try id("x-oas-job-id", response)
    }

    package func jobs(of vault: String) async throws(StoreError) -> [VaultJob] {
        try await all("/\(vault)/jobs", "JobList", limit: 100) { VaultJob($0) }
    }

    package func job(_ job: String, of vault: String) async throws(StoreError) -> VaultJob {
        let response = try await send(Request(method: .get, path: "/\(vault)/jobs/\(job)"), expecting: [200])
        guard let job = VaultJob(try json(response)) else { throw nonsense(response, "a job that makes no sense") }
        return job
    }

    /// Reads a range of a job's output, widened to whole mebibytes as the store wants it.
    func output(
        of job: String, in vault: String, range: Range<UInt64>, totalBytes: UInt64?, into sink: any ByteSink
    ) async throws(StoreError) -> UInt64 {
        let body = OutputSink(range, totalBytes: totalBytes, sink)
        let asked = body.aligned
        let response: HTTPResponse
        do throws(StoreError) {
            response = try await send(
                Request(
                    method: .get, path: "/\(vault)/jobs/\(job)/output",
                    headers: [
                        ("accept-encoding", "identity"), ("range", "bytes=\(asked.lowerBound)-\(asked.upperBound - 1)"),
                    ],
                    timeout: nil),
                into: body, expecting: [200, 206])
        } catch {
            if body.isAborted { throw .cancelled }
            if let problem = body.problem { throw .nonsense(problem) }
            throw error
        }
        if let problem = body.problem { throw nonsense(response, problem) }
        guard body.isComplete else {
            throw StoreError(
                .unavailable, status: response.status, code: "ShortBody", message: "the body ended early",
                requestID: requestID(response))
        }
        return body.total
    }
}
