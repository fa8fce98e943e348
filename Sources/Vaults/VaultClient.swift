internal import HTTP
internal import Logging
package import ObjectStore
internal import Synchronization
package import ThawCore
internal import Wire

/// Alibaba Archive Storage over HTTP: sends each request once, signed; what is missing in the store's documents is
/// assumed to be as in Glacier (docs/notes/vaults.md).
package final class VaultClient: Sendable {
    /// What the vendor's SDK sends as `x-oas-version`.
    private static let version = "0.2.5"
    /// How long the store may be silent while it joins parts or counts archives.
    static let serverWorkMax = Duration.seconds(600)
    /// How long the reply to a job may take: whoever gives up on it may pay for two.
    static let jobStartMax = Duration.seconds(120)

    package let endpoint: Endpoint
    private let credentials: any CredentialsProvider
    private let transport: any Transport
    private let clock: @Sendable () -> Timestamp
    /// What the store's clock has over ours.
    private let skew = Mutex(Duration.zero)

    package init(
        _ endpoint: Endpoint, credentials: any CredentialsProvider, transport: any Transport,
        clock: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
    ) {
        self.endpoint = endpoint
        self.credentials = credentials
        self.transport = transport
        self.clock = clock
    }

    struct Request: Sendable {
        var method: HTTPRequest.Method
        /// Without `/vaults`; percent-encoded.
        var path = ""
        var query: [QueryItem] = []
        var headers: [(name: String, value: String)] = []
        var body = Payload.bytes([])
        var timeout: Duration? = .seconds(60)
        var stallMax = Duration.seconds(20)
        var isSentOnce = false
    }

    func send(
        _ request: Request, into sink: (any BodySink)? = nil, expecting statuses: [Int]
    ) async throws(StoreError) -> HTTPResponse {
        let key: Credentials
        do throws(CredentialsError) { key = try await credentials.credentials() } catch {
            throw StoreError(.denied, code: "NoCredentials", message: error.description)
        }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await transport.perform(signed(request, key), into: sink) } catch {
            throw StoreError(error)
        }
        guard !statuses.contains(response.status) else { return response }
        let error = refusal(response)
        if error.kind == .clockSkew, let time = response.head["date"].flatMap({ WireDate.parseRFC1123($0) }) {
            skew.withLock { $0 = time - clock() }
        }
        if error.kind == .denied { await credentials.discard(key) }
        throw error
    }

    private func signed(_ request: Request, _ key: Credentials) -> HTTPRequest {
        let path = "/vaults" + request.path
        var headers = request.headers + [
            ("date", WireDate.rfc1123(clock() + skew.withLock { $0 })), ("x-oas-version", Self.version),
        ]
        let signable = SignableRequest(
            method: request.method.rawValue, bucket: nil, wirePath: path, query: request.query, headers: headers)
        headers.append(("authorization", OASSignature.authorization(signable, credentials: key)))
        let query = request.query.isEmpty ? "" : "?\(request.query.wire)"
        return HTTPRequest(
            method: request.method, url: "\(endpoint.scheme)://\(endpoint.authority)\(path)\(query)", headers: headers,
            body: request.body, timeout: request.timeout, stallMax: request.stallMax,
            isSentOnce: request.isSentOnce)
    }

    // MARK: - Replies

    private func refusal(_ response: HTTPResponse) -> StoreError {
        let document = JSON(response.body)
        let code = document?["code"]?.string ?? "HTTP\(response.status)"
        let message = document?["message"]?.string ?? "the store answered with status \(response.status)"
        return StoreError(
            Self.kind(code, response), status: response.status, code: code, message: message,
            requestID: requestID(response),
            retryAfter: response.head["retry-after"].flatMap { Int64($0) }.map { .seconds(min($0, 86400)) })
    }

    /// A skewed Date has no code of its own in the documents: it is told by the clock that comes with the refusal.
    private static func kind(_ code: String, _ response: HTTPResponse) -> StoreError.Kind {
        switch code {
        case "VaultNotExists": return .noSuchBucket
        case "ArchiveNotExists", "JobNotExists": return .noSuchKey
        case "UploadIdNotExists": return .noSuchUpload
        case "JobNotReady", "JobNoOutput": return .invalidObjectState
        case "VaultNotEmpty": return .notEmpty
        case "InvalidDigest": return .corrupted
        case "InvalidRange": return .invalidRange
        case "RequestTimeTooSkewed": return .clockSkew
        case "RequestTimeout": return .timeout
        case "InternalError", "ServiceUnavailable": return .unavailable
        case "SlowDown", "QpsLimitExceeded": return .throttled
        default: break
        }
        switch response.status {
        case 401, 403: return .denied
        case 404: return .noSuchKey
        case 408: return .timeout
        case 429: return .throttled
        case 503 where response.head["retry-after"] != nil: return .throttled
        case 500...599: return .unavailable
        case 300...499: return .invalidRequest
        default: return .nonsense
        }
    }

    func requestID(_ response: HTTPResponse) -> String? { response.head["x-oas-request-id"] }

    func nonsense(_ response: HTTPResponse, _ message: String) -> StoreError {
        .nonsense(message, status: response.status, requestID: requestID(response))
    }

    func json(_ response: HTTPResponse) throws(StoreError) -> JSON {
        guard let json = JSON(response.body) else { throw nonsense(response, "a reply that is no JSON") }
        return json
    }

    /// The header that tells what was made.
    func id(_ name: String, _ response: HTTPResponse) throws(StoreError) -> String {
        guard let id = response.head[name], !id.isEmpty else { throw nonsense(response, "a reply without \(name)") }
        return id
    }

    /// The store's date of the reply.
    func date(_ response: HTTPResponse) -> Timestamp {
        response.head["date"].flatMap { WireDate.parseRFC1123($0) } ?? clock()
    }

    /// All elements of a listing, page by page.
    func all<Element>(
        _ path: String, _ name: String, limit: Int, _ read: (JSON) -> Element?
    ) async throws(StoreError) -> [Element] {
        var elements: [Element] = []
        var marker = ""
        while true {
            var query = [QueryItem("limit", "\(limit)")]
            if !marker.isEmpty { query.append(QueryItem("marker", marker)) }
            let response = try await send(Request(method: .get, path: path, query: query), expecting: [200])
            let page = try json(response)
            guard let listed = page[name]?.array else { throw nonsense(response, "a listing without \(name)") }
            for json in listed {
                guard let element = read(json) else {
                    throw nonsense(response, "an element of \(name) that makes no sense")
                }
                elements.append(element)
            }
            let next = page["Marker"]?.string ?? ""
            if next.isEmpty { return elements }
            guard next != marker else { throw nonsense(response, "a listing that loops: the same marker came twice") }
            marker = next
        }
    }
}
