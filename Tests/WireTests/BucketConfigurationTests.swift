import Testing
import Wire

private func problem(_ text: String, _ kind: BucketConfiguration.Kind, _ dialect: Dialect = .s3) -> String? {
    do throws(ConfigurationProblem) {
        try BucketConfiguration.check(Array(text.utf8), is: kind, in: dialect)
        return nil
    } catch {
        return error.description
    }
}

@Suite("bucket configurations")
struct BucketConfigurationTests {
    @Test("names are kinds, with an id where a bucket can have several")
    func names() {
        #expect(BucketConfiguration(name: "lifecycle") == BucketConfiguration(.lifecycle))
        #expect(BucketConfiguration(name: "inventory.a.b") == BucketConfiguration(.inventory, id: "a.b"))
        #expect(BucketConfiguration(name: "inventory.a.b")?.name == "inventory.a.b")
        for name in ["", "inventory.", "lifecycle.x", "Lifecycle", "acl"] {
            #expect(BucketConfiguration(name: name) == nil)
        }
    }

    @Test("providers offer what they have")
    func offers() {
        #expect(BucketConfiguration.Kind.archiveDirectRead.offer(in: .oss)?.subresource == "bucketArchiveDirectRead")
        #expect(BucketConfiguration.Kind.archiveDirectRead.offer(in: .s3) == nil)
        #expect(BucketConfiguration.Kind.objectLock.offer(in: .oss) == nil)
        #expect(BucketConfiguration.Kind.inventory.offer(in: .oss)?.idParameter == "inventoryId")
        #expect(BucketConfiguration.Kind.inventory.offer(in: .s3)?.idParameter == "id")
        #expect(BucketConfiguration.Kind.location.offer(in: .s3)?.actions == [.get])
    }

    @Test("what is no document, or another one, is refused with what is expected")
    func documents() {
        #expect(problem("<CORSConfiguration>", .cors) == "malformed XML at byte 19: truncated")
        #expect(
            problem("<LifecycleConfiguration/>", .cors)
                == "<LifecycleConfiguration> where <CORSConfiguration> is expected")
        #expect(problem("<CORSConfiguration/>", .cors) == "it has no <CORSRule>")
        let rule = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>PATCH</AllowedMethod></CORSRule>"
        #expect(
            problem("<CORSConfiguration>\(rule)</CORSConfiguration>", .cors)
                == "rule 1: <AllowedMethod> is “PATCH”; there are GET, PUT, POST, DELETE and HEAD")
    }

    @Test("a lifecycle rule has a status and does something")
    func lifecycle() {
        func rules(_ text: String) -> String { "<LifecycleConfiguration xmlns=\"x\">\(text)</LifecycleConfiguration>" }
        let expiring = "<Rule><Filter/><Status>Enabled</Status><Expiration><Days>60</Days></Expiration></Rule>"
        #expect(problem(rules(expiring), .lifecycle) == nil)
        #expect(problem(rules(""), .lifecycle) == "0 rules; there must be from 1 to 1000")
        #expect(
            problem(rules(expiring + "<Rule><Status>On</Status></Rule>"), .lifecycle)
                == "rule 2: <Status> is “On”; it must be Enabled or Disabled")
        #expect(
            problem(rules(expiring.replacing("60", with: "0")), .lifecycle)
                == "rule 1: <Expiration> has “0” for <Days>; it must be a number from 1 on")
    }

    @Test("IBM COS archives whole buckets, by one rule")
    func archiving() {
        func rules(_ texts: String...) -> String {
            "<LifecycleConfiguration>\(texts.map { "<Rule>\($0)</Rule>" }.joined())</LifecycleConfiguration>"
        }
        func rule(_ prefix: String, _ storageClass: String = "GLACIER", id: String = "archive") -> String {
            "<ID>\(id)</ID><Filter><Prefix>\(prefix)</Prefix></Filter><Status>Enabled</Status>"
                + "<Transition><Days>0</Days><StorageClass>\(storageClass)</StorageClass></Transition>"
        }
        let expiry = "<ID>old</ID><Filter><Prefix>p</Prefix></Filter><Status>Enabled</Status>"
            + "<Expiration><Days>60</Days></Expiration>"
        #expect(problem(rules(rule(""), expiry), .lifecycle, .cos) == nil)
        #expect(problem(rules(rule("", "ACCELERATED")), .lifecycle, .cos) == nil)
        #expect(
            problem(rules(expiry, rule("logs/")), .lifecycle, .cos)
                == "rule 2: the prefix is “logs/”; IBM COS archives whole buckets only: with a <Transition> it must be empty")
        #expect(
            problem(rules(rule("", "DEEP_ARCHIVE")), .lifecycle, .cos)
                == "rule 1: <StorageClass> is “DEEP_ARCHIVE”; it must be GLACIER or ACCELERATED")
        #expect(
            problem(rules(rule(""), rule("")), .lifecycle, .cos)
                == "several rules have a <Transition>; IBM COS takes one in a bucket")
        #expect(problem(rules(rule("", id: "a b")), .lifecycle, .cos) != nil)
        #expect(problem(rules(rule("logs/", "DEEP_ARCHIVE")), .lifecycle, .s3) == nil)
    }

    @Test("a location of IBM COS is a place and a class")
    func locations() {
        #expect(BucketLocation(" us-south-vault\n") == BucketLocation(place: "us-south", storageClass: "vault"))
        #expect(BucketLocation("us-onerate_active")?.place == "us")
        for word in ["us-south", "vault", "-vault", "us-south-tepid"] { #expect(BucketLocation(word) == nil) }
    }

    @Test("an object lock has one mode and one span")
    func objectLock() {
        func lock(_ enabled: String, _ retention: String) -> String {
            "<ObjectLockConfiguration><ObjectLockEnabled>\(enabled)</ObjectLockEnabled><Rule><DefaultRetention>"
                + "\(retention)</DefaultRetention></Rule></ObjectLockConfiguration>"
        }
        #expect(problem(lock("Enabled", "<Days>30</Days><Mode>COMPLIANCE</Mode>"), .objectLock) == nil)
        #expect(
            problem(lock("ENABLED", "<Days>30</Days><Mode>COMPLIANCE</Mode>"), .objectLock)
                == "<ObjectLockEnabled> is “ENABLED”; it must be Enabled")
        #expect(
            problem(lock("Enabled", "<Days>1</Days><Years>1</Years><Mode>COMPLIANCE</Mode>"), .objectLock)
                == "<DefaultRetention> needs either <Days> or <Years>")
    }

    @Test("retentions do not fall from the least to the greatest")
    func protection() {
        func policy(_ days: [Int]) -> String {
            let periods = zip(["Minimum", "Default", "Maximum"], days).map {
                "<\($0)Retention><Days>\($1)</Days></\($0)Retention>"
            }
            return "<ProtectionConfiguration><Status>Retention</Status>\(periods.joined())</ProtectionConfiguration>"
        }
        #expect(problem(policy([100, 2555, 10000]), .protection) == nil)
        #expect(
            problem(policy([100, 50, 10000]), .protection)
                == "the retentions are 100, 50 and 10000 days; minimum, default and maximum must not fall")
    }

    @Test("a redirection of all requests stands alone, and an index has a name without slashes")
    func website() {
        func site(_ text: String) -> String { "<WebsiteConfiguration>\(text)</WebsiteConfiguration>" }
        let index = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
        let redirection = "<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"
        #expect(problem(site(index), .website) == nil)
        #expect(problem(site(redirection), .website) == nil)
        #expect(problem(site(index + redirection), .website) == "<RedirectAllRequestsTo> goes with nothing else")
        #expect(problem(site("<IndexDocument/>"), .website) != nil)
    }

    @Test("a backup policy is JSON with its four members")
    func backupPolicies() {
        let policy = """
            {"policy_name": "p", "initial_retention": {"delete_after_days": 10}, "backup_type": "continuous",
             "target_backup_vault_crn": "crn:v1:x"}
            """
        #expect(problem(policy, .backupPolicies) == nil)
        #expect(problem("<xml/>", .backupPolicies) == "a backup policy is a JSON object")
        #expect(
            problem(policy.replacing("continuous", with: "daily"), .backupPolicies)
                == "\"backup_type\" must be \"continuous\"")
    }

    @Test("what providers answer for nothing says nothing")
    func nothing() {
        func saysNothing(_ text: String, _ kind: BucketConfiguration.Kind) -> Bool {
            BucketConfiguration.saysNothing(Array(text.utf8), kind)
        }
        #expect(saysNothing("<VersioningConfiguration/>", .versioning))
        #expect(!saysNothing("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>", .versioning))
        #expect(saysNothing("<ProtectionConfiguration><Status>Disabled</Status></ProtectionConfiguration>", .protection))
        #expect(saysNothing("[]", .backupPolicies))
        #expect(saysNothing("<ListInventoryConfigurationsResult><IsTruncated>false</IsTruncated>"
            + "</ListInventoryConfigurationsResult>", .inventory))
    }
}
