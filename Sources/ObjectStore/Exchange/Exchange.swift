import HTTP
import Logging
import Synchronization
import ThawCore
import Wire

/// Sends requests to one bucket, and keeps what their replies teach: the store's clock and the bucket's
/// region.
final class Exchange: Sendable {
    private struct Learned {
        var configuration: StoreConfiguration
        /// What the store's clock has over ours.
        var skew = Duration.zero
        var hasWarned = false
    }

    private let dialect: any BucketDialect
    private let credentials: any CredentialsProvider
    private let transport: any Transport
    private let logger: Logger
    private let clock: @Sendable () -> Timestamp
    private let learned: Mutex<Learned>

    init(
        _ configuration: StoreConfiguration,
        _ dialect: any BucketDialect,
        credentials: any CredentialsProvider,
        transport: any Transport,
        logger: Logger,
        clock: @escaping @Sendable () -> Timestamp
    ) {
        self.dialect = dialect
        self.credentials = credentials
        self.transport = transport
        self.logger = logger
        self.clock = clock
        learned = Mutex(Learned(configuration: configuration))
    }

    /// By the store's clock, as far as it is known.
    var now: Timestamp { clock() + learned.withLock { $0.skew } }

    /// Any reply whose status is not among those expected is an error.
    func send(
        _ request: StoreRequest,
        into sink: (any BodySink)? = nil,
        expecting statuses: some Sequence<Int> & Sendable
    ) async throws(StoreError) -> HTTPResponse {
        let key = try await current()
        let asked = learned.withLock { $0.configuration.region }
        do throws(Refusal) {
            return try await attempt(request, key, into: sink, expecting: statuses)
        } catch {
            if moved(from: asked, to: error.region, after: error.error) {
                return try await again(request, key, into: sink, expecting: statuses)
            }
            correctClock(error)
            if error.error.kind == .denied, isStale(key, error.error) {
                await credentials.discard(key)
                let renewed = try await current()
                if renewed != key {
                    return try await again(request, renewed, into: sink, expecting: statuses)
                }
            }
            throw error.error
        }
    }

    /// Codes of a credential that was good once.
    private static let staleCodes: Set<String> = [
        "ExpiredToken", "SecurityTokenExpired", "InvalidSecurityToken", "InvalidAccessKeyId",
        "TokenRefreshRequired",
    ]

    /// Of an expired token IBM COS says no more than that access is denied.
    private func isStale(_ key: Credentials, _ error: StoreError) -> Bool {
        if Self.staleCodes.contains(error.code) { return true }
        guard let bearer = key.bearer else { return false }
        return error.status == 401 || bearer.expires <= clock()
    }

    private func current() async throws(StoreError) -> Credentials {
        let key: Credentials
        do {
            key = try await credentials.credentials()
        } catch {
            throw StoreError(.denied, code: "NoCredentials", message: error.description)
        }
        guard key.bearer == nil || learned.withLock({ $0.configuration.endpoint.keepsSecrets }) else {
            throw StoreError(
                .denied, code: "InsecureEndpoint", message: "an IAM token is not sent over http but to this machine")
        }
        return key
    }

    private func again(
        _ request: StoreRequest,
        _ key: Credentials,
        into sink: (any BodySink)?,
        expecting statuses: some Sequence<Int>
    ) async throws(StoreError) -> HTTPResponse {
        do throws(Refusal) {
            return try await attempt(request, key, into: sink, expecting: statuses)
        } catch {
            throw error.error
        }
    }

    private func attempt(
        _ request: StoreRequest,
        _ key: Credentials,
        into sink: (any BodySink)?,
        expecting statuses: some Sequence<Int>
    ) async throws(Refusal) -> HTTPResponse {
        let (configuration, skew) = learned.withLock { ($0.configuration, $0.skew) }
        let signed = dialect.httpRequest(request, configuration, credentials: key, date: clock() + skew)
        let response: HTTPResponse
        do {
            response = try await transport.perform(signed, into: sink)
        } catch {
            throw Refusal(error: StoreError(error))
        }
        guard statuses.contains(response.status) else { throw Refusal(response, dialect, now: clock()) }
        return response
    }

    // MARK: - What replies teach

    /// Takes over the region that an S3 refusal names; false when it names none but the one that was asked.
    private func moved(from asked: String, to region: String?, after error: StoreError) -> Bool {
        guard dialect.dialect == .s3, let region, !region.isEmpty, region.utf8.allSatisfy(isHostByte),
            [301, 307, 400].contains(error.status), region != asked
        else { return false }
        learned.withLock { learned in
            learned.configuration.region = region
            if learned.configuration.isEndpointDerived {
                learned.configuration.endpoint = StoreConfiguration.endpoint(region: region, .s3)
            }
        }
        return true
    }

    /// Dates later requests by the store's clock. `RetryingStore` sends this one again.
    private func correctClock(_ refusal: Refusal) {
        guard let serverTime = refusal.serverTime else { return }
        let skew = serverTime - clock()
        let isNews = learned.withLock { learned in
            defer { learned.hasWarned = true }
            learned.skew = skew
            return !learned.hasWarned
        }
        // Every store allows 15 minutes; less than that is another reason, and nothing to set a clock for.
        if isNews && (skew > .seconds(900) || skew < .seconds(-900)) {
            logger.warning(
                """
                this machine's clock is \(Int(-skew.secondsRounded)) s ahead of the store's; \
                requests are dated by the store's
                """
            )
        }
    }
}
