package import Logging
package import ThawCore
package import Wire
import HTTP
import Synchronization

/// One bucket over HTTP: everything that the dialects share. What they do not is in their `BucketDialect`.
///
/// Sends each request once, with one exception: a reply that tells how to ask rightly (another region, a
/// credential that has been renewed) is followed at once, and what it taught is kept.
package final class BucketStore: ObjectStore {
    package let configuration: StoreConfiguration
    package var dialect: Dialect { configuration.dialect }

    let spoken: any BucketDialect
    let exchange: Exchange
    /// With the host that keeps backup policies.
    let policyExchange: Exchange
    private let logger: Logger
    private let hasRefusedChecksum = Atomic(false)

    /// - Parameter clock: what signatures are dated with, before any correction that the store asks for
    package init(
        _ configuration: StoreConfiguration,
        credentials: any CredentialsProvider,
        transport: any Transport,
        logger: Logger,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.configuration = configuration
        self.logger = logger
        spoken = configuration.dialect.speaksS3 ? S3Dialect(configuration.dialect) : OSSDialect()
        exchange = Exchange(
            configuration,
            spoken,
            credentials: credentials,
            transport: transport,
            logger: logger,
            clock: clock
        )
        policyExchange = Exchange(
            configuration.ofPolicies,
            spoken,
            credentials: credentials,
            transport: transport,
            logger: logger,
            clock: clock
        )
    }

    package func list(_ request: ListRequest) async throws(StoreError) -> ListPage {
        var query = [
            QueryItem("list-type", "2"), QueryItem("encoding-type", "url"),
            QueryItem("max-keys", "\(request.keysMax)"),
        ]
        if !request.prefix.isEmpty { query.append(QueryItem("prefix", bytes: request.prefix.bytes)) }
        if let delimiter = request.delimiter { query.append(QueryItem("delimiter", bytes: [delimiter])) }
        if let token = request.continuationToken {
            query.append(QueryItem("continuation-token", token))
        } else if let start = request.startAfter, !start.isEmpty {
            query.append(QueryItem("start-after", bytes: start.bytes))
        }
        let response = try await exchange.send(
            StoreRequest(method: .get, query: query, headers: spoken.listHeaders),
            expecting: [200]
        )
        do {
            return try ListReply.page(response.body, spoken)
        } catch {
            throw nonsense(response, error.reason)
        }
    }

    package func listVersions(_ request: VersionListRequest) async throws(StoreError) -> VersionPage {
        var query = [
            QueryItem("versions"), QueryItem("encoding-type", "url"), QueryItem("max-keys", "\(request.versionsMax)"),
        ]
        if !request.prefix.isEmpty { query.append(QueryItem("prefix", bytes: request.prefix.bytes)) }
        if let delimiter = request.delimiter { query.append(QueryItem("delimiter", bytes: [delimiter])) }
        if let after = request.after {
            query.append(QueryItem("key-marker", bytes: after.key.bytes))
            if let version = after.versionID { query.append(QueryItem("version-id-marker", version)) }
        }
        let response = try await exchange.send(
            StoreRequest(method: .get, query: query, headers: spoken.listHeaders),
            expecting: [200]
        )
        do {
            return try VersionListReply.page(response.body, spoken)
        } catch {
            throw nonsense(response, error.reason)
        }
    }

    package func head(_ key: ObjectKey, version: String?) async throws(StoreError) -> ObjectRecord {
        let response = try await exchange.send(
            StoreRequest(method: .head, key: key, query: versionQuery(version), headers: [Self.identity]),
            expecting: [200]
        )
        return try record(ofHead: response)
    }

    func record(ofHead response: HTTPResponse) throws(StoreError) -> ObjectRecord {
        guard let size = response.head["content-length"].flatMap({ fileOffset($0) }),
            let record = ObjectRecord(response.head, sizeBytes: size, spoken)
        else { throw nonsense(response, "a HEAD without a length, a date or an entity tag that can be read") }
        return record
    }

    package func get(
        _ key: ObjectKey,
        version: String?,
        range: Range<UInt64>,
        ifMatch: String?,
        into sink: any ByteSink
    ) async throws(StoreError) -> ObjectRecord {
        guard !range.isEmpty else {
            throw StoreError(.invalidRange, code: "EmptyRange", message: "a read of no bytes")
        }
        var headers = spoken.readHeaders + [Self.identity]
        headers.append(("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)"))
        if let ifMatch { headers.append(("if-match", ifMatch)) }
        let request = StoreRequest(
            method: .get,
            key: key,
            query: versionQuery(version),
            headers: headers,
            timeout: nil
        )

        let body = RangeSink(range, sink)
        let response: HTTPResponse
        do {
            response = try await exchange.send(request, into: body, expecting: 200...299)
        } catch {
            if body.isAborted { throw .cancelled }
            if let problem = body.problem { throw .nonsense(problem) }
            throw error
        }
        if let problem = body.problem { throw nonsense(response, problem) }
        guard body.isComplete else {
            throw StoreError(
                .unavailable,
                status: response.status,
                code: "ShortBody",
                message: "the body ended early",
                requestID: requestID(response)
            )
        }
        guard let size = response.head["content-range"].flatMap(ContentRange.init)?.sizeBytes,
            let record = ObjectRecord(response.head, sizeBytes: size, spoken)
        else { throw nonsense(response, "a GET without a date or an entity tag that can be read") }
        return record
    }

    package func restore(
        _ key: ObjectKey,
        version: String?,
        _ order: RestoreOrder
    ) async throws(StoreError) -> RestoreReply {
        let request = StoreRequest(
            method: .post,
            key: key,
            query: [QueryItem("restore")] + versionQuery(version),
            body: .document(spoken.restoreBody(order))
        )
        do throws(StoreError) {
            let response = try await exchange.send(request, expecting: [200, 202])
            if let document = ErrorDocument(response.body) {
                throw nonsense(response, "success with an error inside: \(document.code ?? "no code")")
            }
            return response.status == 202 ? .started : .alreadyRestored
        } catch {
            if dialect == .cos, error.status == 409 { return try await inProgress(key, version, error) }
            if error.code == "RestoreAlreadyInProgress" { return .alreadyInProgress }
            // S3 and its kin use this code for an object that is not archived as well; there it cannot mean
            // frozen.
            if error.kind == .invalidObjectState {
                var error = error
                error.kind = .notArchived
                throw error
            }
            throw error
        }
    }

    /// IBM COS documents no code for a restore that is under way: every 409 is taken for one, and a HEAD confirms it.
    /// Otherwise the conflict was with something else, and asking again may help.
    private func inProgress(
        _ key: ObjectKey, _ version: String?, _ conflict: StoreError
    ) async throws(StoreError) -> RestoreReply {
        if case .ongoing = try await head(key, version: version).restore { return .alreadyInProgress }
        var error = conflict
        error.kind = .unavailable
        throw error
    }

    package func refreeze(_ key: ObjectKey, version: String?) async throws(StoreError) {
        guard dialect == .oss else {
            throw StoreError(
                .unsupported, code: "Unsupported", message: "this store keeps a restored copy until it expires")
        }
        let request = StoreRequest(
            method: .post,
            key: key,
            query: [QueryItem("cleanRestoredObject")] + versionQuery(version)
        )
        do {
            _ = try await exchange.send(request, expecting: [200, 204])
        } catch {
            // Not restored, or refrozen already, perhaps by this very request whose reply was lost (EC 0016-00000718).
            guard error.code == "ArchiveRestoreFileStale" else { throw error }
        }
    }

    package func archiveDirectRead() async throws(StoreError) -> Bool {
        guard dialect == .oss else { return false }
        let response: HTTPResponse
        do {
            response = try await exchange.send(
                StoreRequest(method: .get, query: [QueryItem("bucketArchiveDirectRead")]),
                expecting: [200]
            )
        } catch {
            // Not ours to ask, or never configured.
            if error.status == 403 && error.kind == .denied || error.status == 404 && error.kind == .noSuchKey
            {
                return false
            }
            throw error
        }
        do throws(XMLError) {
            return try Self.enabled(response.body)
        } catch {
            throw nonsense(response, error.description)
        }
    }

    // MARK: - Checksums

    /// Whether the store does not know the dialect's checksum.
    var isChecksumRefused: Bool { hasRefusedChecksum.load(ordering: .relaxed) }

    func learnChecksumIsRefused(_ error: StoreError) {
        guard !hasRefusedChecksum.exchange(true, ordering: .relaxed) else { return }
        logger.notice("\(configuration.endpoint.authority) knows no CRC-64/NVME, and gets Content-MD5 instead: \(error)")
    }

    // MARK: - Parts of requests and replies

    /// Bytes come as they are stored: a Content-Encoding is the object's own.
    static let identity = (name: "accept-encoding", value: "identity")

    func versionQuery(_ version: String?) -> [QueryItem] {
        version.map { [QueryItem("versionId", $0)] } ?? []
    }

    func requestID(_ response: HTTPResponse) -> String? {
        response.head[spoken.headerPrefix + "request-id"]
    }

    func nonsense(_ response: HTTPResponse, _ message: String) -> StoreError {
        .nonsense(message, status: response.status, requestID: requestID(response))
    }

    /// `<ArchiveDirectReadConfiguration><Enabled>true</Enabled></ArchiveDirectReadConfiguration>`
    private static func enabled(_ body: [UInt8]) throws(XMLError) -> Bool {
        var xml = try XMLReader(body)
        guard xml.isNamed("ArchiveDirectReadConfiguration") else {
            throw XMLError(reason: "<\(xml.localName)> where a configuration was expected", offset: 0)
        }
        var isEnabled = false
        while try xml.nextChild() {
            if xml.isNamed("Enabled") { isEnabled = try xml.string() == "true" } else { try xml.skip() }
        }
        try xml.finish()
        return isEnabled
    }
}
