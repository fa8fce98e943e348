import HTTP
import ThawCore
import Wire

/// Exchanges API keys of IBM Cloud for tokens.
struct IAM: Sendable {
    /// What an API key is for, and where it is exchanged.
    struct Account: Sendable, Equatable {
        var apiKey: String
        var serviceInstanceID: String?
        /// Nil for IBM's public one.
        var endpoint: String?

        /// Nil without a key. Empty settings are as good as none.
        init?(apiKey: String?, serviceInstanceID: String?, endpoint: String?) {
            guard let apiKey, !apiKey.isEmpty else { return nil }
            self.apiKey = apiKey
            self.serviceInstanceID = serviceInstanceID.flatMap { $0.isEmpty ? nil : $0 }
            self.endpoint = endpoint.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    static let publicEndpoint = "https://iam.cloud.ibm.com/identity/token"
    /// As many, and as patient, as IBM's SDK (ibm-cos-sdk-core 2.16, `DefaultTokenManager`).
    private static let attemptsMax = 3
    private static let timeout = Duration.seconds(5)
    private static let pause = Duration.milliseconds(500)
    /// Of its life, how much is left when a token is renewed: the SDK's advisory limit.
    private static let renewalShare = 4

    let transport: any Transport
    let clock: @Sendable () -> Timestamp

    /// A token, until when it lasts by our clock. Errors hold IAM's own code and request id, and never the key.
    func lease(_ account: Account) async throws(CredentialsError) -> Lease {
        let endpoint = account.endpoint ?? Self.publicEndpoint
        guard Self.keepsSecrets(endpoint) else {
            throw CredentialsError("\(endpoint): an API key is not sent over http but to this machine")
        }
        let body =
            "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&response_type=cloud_iam&apikey="
            + PercentEncoding.encode(account.apiKey)
        let request = HTTPRequest(
            method: .post, url: endpoint,
            headers: [
                ("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json"),
                // Of no account: what IBM's own clients send (`bx:bx`).
                ("authorization", "Basic " + Base64.encode(Array("bx:bx".utf8))),
            ],
            body: .bytes(Array(body.utf8)), timeout: Self.timeout)
        var attempt = 1
        while true {
            let asked = clock()
            let problem: String
            switch await answer(request) {
            case .success(let reply) where reply.status == 200:
                return try Self.lease(account, reply.body, askedAt: asked, endpoint)
            case .success(let reply):
                problem = Self.words(reply)
                // Another try makes the key no better.
                if reply.status != 429, reply.status < 500 { attempt = Self.attemptsMax }
            case .failure(let error): problem = StoreError(error).message
            }
            guard attempt < Self.attemptsMax else { throw CredentialsError("\(endpoint): \(problem)") }
            do { try await Task.sleep(for: Self.pause * attempt) } catch {
                throw CredentialsError("\(endpoint): given up while waiting to ask again: \(problem)")
            }
            attempt += 1
        }
    }

    private func answer(_ request: HTTPRequest) async -> Result<HTTPResponse, HTTPError> {
        do throws(HTTPError) {
            return .success(try await transport.perform(request, into: nil))
        } catch {
            return .failure(error)
        }
    }

    private static func lease(
        _ account: Account, _ body: [UInt8], askedAt: Timestamp, _ endpoint: String
    ) throws(CredentialsError) -> Lease {
        guard let json = JSON(body), let token = json["access_token"]?.string, !token.isEmpty,
            token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }), let life = json["expires_in"]?.int, life > 0
        else { throw CredentialsError("\(endpoint) answered with no token and its life") }
        let lifetime = Duration.seconds(min(life, 86400))
        // Not by `expiration`: that is the provider's clock.
        let expires = askedAt + lifetime
        return Lease(
            Credentials(BearerToken(token, expires: expires, serviceInstanceID: account.serviceInstanceID)),
            expires: expires, margin: lifetime / renewalShare)
    }

    private static func words(_ reply: HTTPResponse) -> String {
        var words = "HTTP \(reply.status)"
        guard let json = JSON(reply.body) else { return words }
        if let code = json["errorCode"]?.string { words += " \(code)" }
        if let message = json["errorMessage"]?.string { words += ": \(message)" }
        if let id = json["context"]?["requestId"]?.string { words += " (request id \(id))" }
        return words.printableLines
    }

    private static func keepsSecrets(_ url: String) -> Bool {
        guard let mark = url.firstRange(of: "://") else { return false }
        let authority = url[mark.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let origin = String(url[..<mark.upperBound]) + authority
        guard let endpoint = try? Endpoint(origin) else { return false }
        return endpoint.keepsSecrets
    }
}

/// `IBM_API_KEY_ID`, `IBM_SERVICE_INSTANCE_ID` and `IBM_AUTH_ENDPOINT`.
struct IAMEnvironmentCredentials: CredentialsSource {
    let name = "IBM_API_KEY_ID"
    let environment: [String: String]
    let iam: IAM

    func load() async throws(CredentialsError) -> Finding {
        let account = IAM.Account(
            apiKey: environment["IBM_API_KEY_ID"], serviceInstanceID: environment["IBM_SERVICE_INSTANCE_ID"],
            endpoint: environment["IBM_AUTH_ENDPOINT"])
        guard let account else { return .absent("not set") }
        return .found(try await iam.lease(account))
    }
}

/// A service credential as IBM Cloud's console shows it, in `COS_CREDENTIALS_FILE` or `~/.bluemix/cos_credentials`. Its
/// HMAC key, if it has one, goes before its API key, as in IBM's SDK.
struct IBMFileCredentials: CredentialsSource {
    var name: String { path }
    private let path: String
    private let iam: IAM

    init(_ environment: [String: String], iam: IAM) {
        let home = environment["HOME"] ?? "/"
        let named = environment["COS_CREDENTIALS_FILE"] ?? "~/.bluemix/cos_credentials"
        path = named.hasPrefix("~/") ? home + named.dropFirst() : named
        self.iam = iam
    }

    func load() async throws(CredentialsError) -> Finding {
        guard let content = try readFile(path) else { return .absent("no such file") }
        guard let json = JSON(content) else { throw CredentialsError("\(path) is not JSON") }
        if let keys = json["cos_hmac_keys"], let key = keys["access_key_id"]?.string,
            let secret = keys["secret_access_key"]?.string
        {
            return .found(Lease(Credentials(accessKeyID: key, secretAccessKey: secret)))
        }
        let account = IAM.Account(
            apiKey: json["apikey"]?.string, serviceInstanceID: json["resource_instance_id"]?.string,
            endpoint: json["iam_auth_endpoint"]?.string)
        guard let account else { return .absent("holds no keys") }
        return .found(try await iam.lease(account))
    }
}
