import Synchronization
import ThawCore
import Wire

/// The tokens that IBM's IAM gives for API keys, which here are the secrets of access keys. They last by the real
/// clock: archives thaw by another.
final class IdentityTokens: Sendable {
    private struct State {
        /// Until when each is good.
        var given: [String: Timestamp] = [:]
        var life = Duration.seconds(3600)
    }

    private let apiKeys: Set<String>
    private let state = Mutex(State())

    init(apiKeys: Set<String>) { self.apiKeys = apiKeys }

    /// How long those last that are given from now on.
    func setLife(_ life: Duration) { state.withLock { $0.life = life } }

    /// All that were given end.
    func revoke() { state.withLock { $0.given = [:] } }

    func accept(_ token: Substring, now: Timestamp) -> Bool {
        state.withLock { $0.given[String(token)].map { $0 > now } ?? false }
    }

    /// A new token, and how long it lasts; nil for a key that is not known.
    func give(for apiKey: String, isLenient: Bool, now: Timestamp) -> (token: String, life: Duration)? {
        guard isLenient || apiKeys.contains(apiKey) else { return nil }
        var random = SystemRandomNumberGenerator()
        let token = "eyJ" + Hex.encode((0..<32).map { _ in UInt8.random(in: 0...255, using: &random) })
        return state.withLock { state in
            state.given = state.given.filter { $0.value > now }
            state.given[token] = now + state.life
            return (token, state.life)
        }
    }
}

extension Exchange {
    /// `POST /identity/token`: an API key for a token (IBM Cloud IAM Identity Services, "Create an IAM access token
    /// for a user or service ID"). The client's own name, `Basic`, is not looked at.
    func issueToken(_ body: [UInt8]) throws(ProviderError) -> Reply {
        guard let form = [QueryItem](wire: String(decoding: body, as: UTF8.self)),
            form["grant_type"]?.text == "urn:ibm:params:oauth:grant-type:apikey",
            let apiKey = form["apikey"]?.text
        else { throw ProviderError(400, "BXNIM0109E", "Property missing or empty: apikey") }
        let now = Timestamp.now()
        let given = service.authorization.tokens.give(
            for: apiKey, isLenient: service.configuration.isLenient, now: now)
        guard let (token, life) = given else {
            throw ProviderError(400, "BXNIM0415E", "Provided API key could not be found.")
        }
        let expires = now + life
        return .json([
            "access_token": .string(token), "refresh_token": "not_supported", "token_type": "Bearer",
            "expires_in": JSON(life.components.seconds), "expiration": JSON(expires.seconds), "scope": "ibm openid",
        ])
    }

    /// IAM's errors are no XML.
    func tokenRefusal(_ error: ProviderError) -> Reply {
        .json(
            [
                "errorCode": .string(error.code), "errorMessage": .string(error.message),
                "context": ["requestId": .string(request.id)],
            ],
            status: error.status)
    }
}
