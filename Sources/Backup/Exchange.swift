internal import HTTP
internal import Logging
internal import ObjectStore
internal import Synchronization
internal import ThawCore
internal import Wire

/// Sends actions to Cloud Backup's RPC endpoint, each signed anew with ACS3, and keeps what replies teach of the
/// service's clock.
final class Exchange: Sendable {
    struct Action: Sendable {
        var name: String
        var query: [QueryItem] = []
        /// What the vendor's SDK sends in the body.
        var form: [QueryItem] = []
        /// Over a connection of its own: on one that was kept alive libcurl may send it twice.
        var isSentOnce = false
    }

    private static let version = "2017-09-08"
    private static let attemptsMax = 5
    private static let baseDelay = Duration.milliseconds(500)
    static let delayMax = Duration.seconds(20)
    /// Codes of credentials that were good once.
    private static let staleCodes: Set<String> = [
        "InvalidSecurityToken.Expired", "InvalidAccessKeyId.NotFound", "InvalidAccessKeyId.Inactive",
    ]

    private let endpoint: Endpoint
    private let credentials: any CredentialsProvider
    private let transport: any Transport
    private let logger: Logger
    private let clock: @Sendable () -> Timestamp
    private let sleep: RetryingStore.Sleep
    /// What the service's clock has over ours.
    private let skew = Mutex(Duration.zero)

    init(
        _ endpoint: Endpoint, credentials: any CredentialsProvider, transport: any Transport, logger: Logger,
        clock: @escaping @Sendable () -> Timestamp, sleep: @escaping RetryingStore.Sleep
    ) {
        self.endpoint = endpoint
        self.credentials = credentials
        self.transport = transport
        self.logger = logger
        self.clock = clock
        self.sleep = sleep
    }

    /// By the service's clock, as far as it is known.
    var now: Timestamp { clock() + skew.withLock { $0 } }

    /// Sends an action that may be sent any number of times, again if that may help.
    func send(_ action: Action) async throws(BackupError) -> JSON {
        var attempt = 1
        while true {
            do throws(BackupError) {
                return try await sendOnce(action)
            } catch {
                guard error.isTransient, attempt < Self.attemptsMax else { throw error }
                logger.debug("\(action.name) is sent again: \(error)")
            }
            try await pause(beforeAttempt: attempt)
            attempt += 1
        }
    }

    /// Waits as long as before attempt number `attempt` plus one: full jitter below a ceiling that doubles.
    func pause(beforeAttempt attempt: Int) async throws(BackupError) {
        let ceiling = min(Self.baseDelay * (1 << min(attempt - 1, 10)), Self.delayMax)
        try await pause(ceiling * Double.random(in: 0...1))
    }

    func pause(_ delay: Duration) async throws(BackupError) {
        do {
            try await sleep(delay)
        } catch {
            throw .cancelled
        }
    }

    /// Sends it once; once more only when the reply says that it was refused for its date or its token.
    func sendOnce(_ action: Action) async throws(BackupError) -> JSON {
        let key = try await current()
        let refusal: BackupError
        do throws(BackupError) {
            return try await attempt(action, key)
        } catch {
            refusal = error
        }
        if refusal.kind == .clockSkew { return try await attempt(action, key) }
        guard Self.staleCodes.contains(refusal.code) else { throw refusal }
        await credentials.discard(key)
        let renewed = try await current()
        guard renewed != key else { throw refusal }
        return try await attempt(action, renewed)
    }

    private func current() async throws(BackupError) -> Credentials {
        do throws(CredentialsError) {
            return try await credentials.credentials()
        } catch {
            throw BackupError(.denied, code: "NoCredentials", message: error.description)
        }
    }

    private func attempt(_ action: Action, _ key: Credentials) async throws(BackupError) -> JSON {
        let response: HTTPResponse
        do throws(HTTPError) {
            response = try await transport.perform(request(action, key), into: nil)
        } catch {
            throw BackupError(error)
        }
        let document = JSON(response.body)
        guard (200...299).contains(response.status) else {
            let error = BackupError(document, status: response.status)
            if error.kind == .clockSkew { correctClock(response.head["date"]) }
            throw error
        }
        guard let document, case .object = document else {
            throw .nonsense("the reply is no JSON object", status: response.status)
        }
        // The status alone says nothing.
        guard document["Success"]?.bool != false else { throw BackupError(document, status: response.status) }
        return document
    }

    private func request(_ action: Action, _ key: Credentials) -> HTTPRequest {
        let body = Array(action.form.wire.utf8)
        var headers: [(name: String, value: String)] = [
            ("x-acs-action", action.name), ("x-acs-version", Self.version),
            ("x-acs-date", WireDate.iso8601Seconds(now)), ("x-acs-signature-nonce", Self.nonce()),
            ("x-acs-content-sha256", Digest.sha256Hex(body)),
        ]
        if !body.isEmpty { headers.append(("content-type", "application/x-www-form-urlencoded")) }
        if let token = key.sessionToken { headers.append(("x-acs-security-token", token)) }
        let signable = SignableRequest(
            method: "POST", bucket: nil, query: action.query, headers: headers + [("host", endpoint.authority)])
        headers.append(("authorization", ACS3Signature.authorization(signable, credentials: key)))
        let query = action.query.isEmpty ? "" : "?" + action.query.wire
        return HTTPRequest(
            method: .post, url: "\(endpoint.scheme.rawValue)://\(endpoint.authority)/\(query)", headers: headers,
            body: .bytes(body), isSentOnce: action.isSentOnce)
    }

    private static func nonce() -> String {
        Hex.encode((0..<16).map { _ in UInt8.random(in: .min ... .max) })
    }

    /// Dates later requests by the service's clock.
    private func correctClock(_ date: String?) {
        guard let time = date.flatMap({ WireDate.parseRFC1123($0) }) else { return }
        let difference = time - clock()
        skew.withLock { $0 = difference }
        logger.warning(
            "this machine's clock is \(Int(-difference.secondsRounded)) s ahead of Cloud Backup's; requests are dated by Cloud Backup's"
        )
    }
}
