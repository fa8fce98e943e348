import Foundation
import HTTP
import Synchronization
import Testing
import ThawCore
import Wire

@testable import ObjectStore

/// Gives another token each time it is asked.
final class RotatingCredentials: CredentialsSource {
    let name = "rotating"
    private let count = Mutex(0)
    private let expires: [Timestamp]
    private let margin: Duration

    init(expires: [Timestamp] = [], margin: Duration = .seconds(600)) {
        self.expires = expires
        self.margin = margin
    }

    var loads: Int { count.withLock { $0 } }

    func load() async throws(CredentialsError) -> Finding {
        let number = count.withLock { count in
            count += 1
            return count
        }
        if !expires.isEmpty && number > expires.count { throw CredentialsError("no more") }
        return .found(
            Lease(
                Credentials(accessKeyID: "AK", secretAccessKey: "s", sessionToken: "\(number)"),
                expires: expires.isEmpty ? nil : expires[number - 1], margin: margin
            )
        )
    }
}

@discardableResult
func withHome<Result>(
    _ files: [String: String],
    _ body: ([String: String]) async throws -> Result
) async throws -> Result {
    let home = FileManager.default.temporaryDirectory.appending(path: "thawfs-credentials-\(UUID())")
    defer { try? FileManager.default.removeItem(at: home) }
    for (path, content) in files {
        let file = home.appending(path: path)
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(),
            withIntermediateDirectories: true
        )
        try content.write(to: file, atomically: true, encoding: .utf8)
    }
    return try await body(["HOME": home.path])
}

private func lease(_ source: any CredentialsSource) async throws -> Lease {
    switch try await source.load() {
    case .found(let lease): return lease
    case .absent(let reason): throw CredentialsError("absent: \(reason)")
    }
}

@Suite("credentials in the environment")
struct EnvironmentCredentialsTests {
    @Test("each vendor's variables are read, tokens included")
    func found() async throws {
        let oss = ["OSS_ACCESS_KEY_ID": "a", "OSS_ACCESS_KEY_SECRET": "b", "OSS_SESSION_TOKEN": "c"]
        let expected = Credentials(accessKeyID: "a", secretAccessKey: "b", sessionToken: "c")
        #expect(try await lease(EnvironmentCredentials(.oss, oss)).credentials == expected)
        let alibaba = ["ALIBABA_CLOUD_ACCESS_KEY_ID": "a", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "b"]
        #expect(try await lease(EnvironmentCredentials(.oss, alibaba)).credentials.sessionToken == nil)
        let aws = [
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c",
            "AWS_CREDENTIAL_EXPIRATION": "2026-01-02T03:04:05Z",
        ]
        #expect(try await lease(EnvironmentCredentials(.s3, aws)) == Lease(expected, expires: instant))
    }

    @Test("half a key is an error, none is absence")
    func incomplete() async throws {
        await #expect(throws: CredentialsError.self) {
            try await EnvironmentCredentials(.s3, ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": ""])
                .load()
        }
        #expect(
            try await EnvironmentCredentials(.s3, [:]).load() == .absent("AWS_ACCESS_KEY_ID is not set")
        )
    }
}

@Suite("credentials in files")
struct FileCredentialsTests {
    private let aws = [
        ".aws/credentials": """
        # a comment
        [default]
        aws_access_key_id = AK1
        aws_secret_access_key=S1=/+
        [ work ]
        aws_access_key_id = AK2
        aws_secret_access_key = S2
        aws_session_token = T2
        [half]
        aws_access_key_id = AK3
        """,
        ".aws/config": """
        [default]
        region = eu-west-1
        s3 =
          aws_access_key_id = nested
        [profile process]
        credential_process = /bin/sh -c 'echo "{\\"Version\\":1,\\"AccessKeyId\\":\\"AKP\\",\\"SecretAccessKey\\":\\"SP\\"}"'
        [profile role]
        role_arn = arn:aws:iam::1:role/x
        """,
    ]

    @Test("profiles are found in both files, by option, variable and default")
    func profiles() async throws {
        try await withHome(aws) { environment async throws in
            #expect(
                try await lease(AWSFileCredentials(profile: nil, environment)).credentials
                    == Credentials(accessKeyID: "AK1", secretAccessKey: "S1=/+")
            )
            let work = Credentials(accessKeyID: "AK2", secretAccessKey: "S2", sessionToken: "T2")
            #expect(try await lease(AWSFileCredentials(profile: "work", environment)).credentials == work)
            let named = environment.merging(["AWS_PROFILE": "work"]) { $1 }
            #expect(try await lease(AWSFileCredentials(profile: nil, named)).credentials == work)
            #expect(
                try await lease(AWSFileCredentials(profile: "process", environment)).credentials
                    == Credentials(accessKeyID: "AKP", secretAccessKey: "SP")
            )
        }
    }

    @Test(
        "a named profile that is missing, half or of an unsupported kind is an error",
        arguments: ["nobody", "half", "role"]
    )
    func broken(_ profile: String) async throws {
        try await withHome(aws) { environment async throws in
            await #expect(throws: CredentialsError.self) {
                try await AWSFileCredentials(profile: profile, environment).load()
            }
        }
    }

    @Test("other files are read when variables name them; none at all is absence")
    func elsewhere() async throws {
        try await withHome(["other": "[default]\naws_access_key_id=A\naws_secret_access_key=B"]) {
            environment async throws in
            #expect(
                try await AWSFileCredentials(profile: nil, environment).load() == .absent("no such profile")
            )
            let named = environment.merging([
                "AWS_SHARED_CREDENTIALS_FILE": (environment["HOME"] ?? "") + "/other"
            ]) { $1 }
            #expect(try await lease(AWSFileCredentials(profile: nil, named)).credentials.accessKeyID == "A")
        }
    }

    @Test("the OSS command's file is read, names in any case")
    func ossutil() async throws {
        let role: @Sendable (String?) -> any CredentialsSource = { name in
            InstanceRoleCredentials(
                .oss,
                role: name,
                [:],
                transport: ScriptedTransport([
                    .reply(404),
                    .reply(200, body: #"{"Code":"Success","AccessKeyId":"R","AccessKeySecret":"s"}"#),
                ])
            )
        }
        let content = "[credentials]\nlanguage=EN\naccessKeyID=A\naccesskeysecret=B\nSTSTOKEN=C\n"
        try await withHome([".ossutilconfig": content]) { environment async throws in
            #expect(
                try await lease(OSSFileCredentials(profile: nil, environment, role: role)).credentials
                    == Credentials(accessKeyID: "A", secretAccessKey: "B", sessionToken: "C")
            )
            #expect(
                try await OSSFileCredentials(profile: "x", environment, role: role).load()
                    == .absent("no section x")
            )
        }
        try await withHome([".ossutilconfig": "[Credentials]\nmode=EcsRamRole\necsRoleName=r"]) {
            environment async throws in
            #expect(
                try await lease(OSSFileCredentials(profile: nil, environment, role: role)).credentials
                    .accessKeyID == "R"
            )
        }
    }
}

@Suite("credentials from a process")
struct ProcessCredentialsTests {
    @Test("a command is split as a shell would")
    func words() {
        #expect(ProcessCredentials.words(#"a 'b c' "d \"e" f\ g ''"#) == ["a", "b c", "d \"e", "f g", ""])
        #expect(ProcessCredentials.words("a 'b") == nil)
    }

    @Test(
        "a command that fails, prints something else or does not exist is an error",
        arguments: [
            "/bin/false", "/bin/echo hello", "/nonexistent/command", #"/bin/echo '{"Version":2}'"#, "",
        ]
    )
    func failures(_ command: String) async {
        await #expect(throws: CredentialsError.self) { try await ProcessCredentials.run(command) }
    }
}

@Suite("credentials of a role")
struct RoleCredentialsTests {
    private let document = """
        {"Code":"Success","AccessKeyId":"A","SecretAccessKey":"B","AccessKeySecret":"B","Token":"C","SecurityToken":"C",
         "Expiration":"2026-01-02T03:04:05Z"}
        """
    private let expected = Lease(
        Credentials(accessKeyID: "A", secretAccessKey: "B", sessionToken: "C"),
        expires: instant
    )

    @Test("an instance's role is asked for by token, then name, then keys")
    func instance() async throws {
        for (dialect, base, header) in [
            (
                Dialect.s3, "http://169.254.169.254/latest/meta-data/iam/security-credentials/",
                "x-aws-ec2-metadata-token"
            ),
            (
                .oss, "http://100.100.100.200/latest/meta-data/ram/security-credentials/",
                "x-aliyun-ecs-metadata-token"
            ),
        ] {
            let transport = ScriptedTransport([
                .reply(200, body: "SESSION"), .reply(200, body: "the-role\n"), .reply(200, body: document),
            ])
            #expect(try await lease(InstanceRoleCredentials(dialect, [:], transport: transport)) == expected)
            #expect(transport.requests[0].method == .put)
            #expect(transport.requests[0].header(header + "-ttl-seconds") == "21600")
            #expect(transport.requests[1...].map(\.url) == [base, base + "the-role"])
            #expect(transport.requests[1...].allSatisfy { $0.header(header) == "SESSION" })
        }
    }

    @Test("no service, no role and a disabled service are absence; a refused document is an error")
    func absent() async throws {
        func load(_ steps: [ScriptedTransport.Step], _ environment: [String: String] = [:]) async throws
            -> Finding
        {
            try await InstanceRoleCredentials(.s3, environment, transport: ScriptedTransport(steps)).load()
        }
        #expect(try await load([.failure(.timeout("x"))]) == .absent("no metadata service answers"))
        #expect(try await load([.reply(403), .reply(404)]) == .absent("this machine has no role"))
        let off = ["AWS_EC2_METADATA_DISABLED": "true"]
        #expect(try await load([], off) == .absent("AWS_EC2_METADATA_DISABLED is set"))
        await #expect(throws: CredentialsError.self) {
            try await load([
                .reply(200, body: "T"), .reply(200, body: "r"), .reply(200, body: #"{"Code":"Failed"}"#),
            ])
        }
        await #expect(throws: CredentialsError.self) {
            try await load([.reply(200, body: "T"), .reply(200, body: "r"), .reply(500)])
        }
    }

    @Test("a container's role is asked for at the endpoint that the environment names")
    func container() async throws {
        let transport = ScriptedTransport([.reply(200, body: document)])
        let environment = [
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "tok",
        ]
        #expect(try await lease(ContainerCredentials(environment, transport: transport)) == expected)
        #expect(transport.requests.first?.url == "http://169.254.170.2/v2/x")
        #expect(transport.requests.first?.header("authorization") == "tok")
        #expect(
            try await ContainerCredentials([:], transport: transport).load()
                == .absent("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set")
        )
    }

    @Test("a container endpoint over http must be this machine's")
    func containerOverHTTP() async throws {
        for (url, isAsked) in [
            ("http://evil.example/x", false), ("http://127.0.0.1@evil.example/x", false),
            ("https://any.example/x", true),
            ("http://127.0.0.1:80/x", true), ("http://[::1]/x", true),
            ("http://127.0.0.1.evil.example/", false),
        ] {
            let transport = ScriptedTransport([.reply(200, body: document)])
            let source = ContainerCredentials(
                ["AWS_CONTAINER_CREDENTIALS_FULL_URI": url],
                transport: transport
            )
            let finding = try? await source.load()
            #expect((finding == .found(expected)) == isAsked)
            #expect(transport.requests.isEmpty == !isAsked)
        }
    }
}

@Suite("the chain of credentials")
struct CredentialsChainTests {
    private final class Clock: Sendable {
        private let time = Mutex(instant)
        var now: Timestamp { time.withLock { $0 } }
        func advance(_ duration: Duration) { time.withLock { $0 = $0 + duration } }
    }

    @Test("its error names every place, and no secret")
    func places() async throws {
        let chain = CredentialsChain.standard(
            .s3,
            profile: nil,
            environment: ["HOME": "/nonexistent"],
            transport: ScriptedTransport([])
        )
        let error = await #expect(throws: CredentialsError.self) { try await chain.credentials() }
        let text = error?.description ?? ""
        for place in ["environment", "/nonexistent/.aws/credentials", "container role", "EC2 instance role"] {
            #expect(text.contains(place))
        }
    }

    @Test("credentials are kept until shortly before their end, then fetched once")
    func renewal() async throws {
        let clock = Clock()
        let source = RotatingCredentials(expires: [instant + .seconds(3600), instant + .seconds(7200)])
        let chain = CredentialsChain([source]) { clock.now }
        #expect(try await chain.credentials().sessionToken == "1")
        clock.advance(.seconds(2900))
        #expect(try await chain.credentials().sessionToken == "1")
        #expect(source.loads == 1)
        clock.advance(.seconds(200))
        #expect(try await chain.credentials().sessionToken == "2")
        #expect(source.loads == 2)
    }

    @Test("short-lived ones are renewed before their end; those that come near it are not asked for at every request")
    func shortLived() async throws {
        let clock = Clock()
        let ends = [12, 24, 23, 60].map { instant + .seconds($0) }
        let source = RotatingCredentials(expires: ends, margin: .seconds(3))
        let chain = CredentialsChain([source]) { clock.now }
        var tokens: [String?] = []
        for step in [0, 8, 2, 5, 6, 1, 3, 2] {
            clock.advance(.seconds(step))
            tokens.append(try await chain.credentials().sessionToken)
        }
        // At 0, 8, 10, 15, 21, 22, 25 and 27 s. The third has two seconds left when it comes.
        #expect(tokens == ["1", "1", "2", "2", "3", "3", "4", "4"])
        #expect(source.loads == 4)
    }

    @Test("a renewal that fails leaves those that are held in use until they end")
    func renewalFails() async throws {
        let clock = Clock()
        let source = RotatingCredentials(expires: [instant + .seconds(3600)])
        let chain = CredentialsChain([source]) { clock.now }
        _ = try await chain.credentials()
        clock.advance(.seconds(3500))
        #expect(try await chain.credentials().sessionToken == "1")
        #expect(try await chain.credentials().sessionToken == "1")
        #expect(source.loads == 2)
        clock.advance(.seconds(200))
        await #expect(throws: CredentialsError.self) { try await chain.credentials() }
    }

    @Test("a profile that is asked for goes before the environment")
    func profileFirst() async throws {
        try await withHome([".aws/credentials": "[p]\naws_access_key_id=A\naws_secret_access_key=B"]) {
            environment async throws in
            let both = environment.merging(["AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "F"]) { $1 }
            let transport = ScriptedTransport([])
            let named = CredentialsChain.standard(.s3, profile: "p", environment: both, transport: transport)
            #expect(try await named.credentials().accessKeyID == "A")
            let unnamed = CredentialsChain.standard(
                .s3,
                profile: nil,
                environment: both,
                transport: transport
            )
            #expect(try await unnamed.credentials().accessKeyID == "E")
        }
    }
}
