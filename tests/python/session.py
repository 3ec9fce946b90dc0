"""One requests session: posting and reading in turn, on one connection."""
import sys
import time

import requests

url = sys.argv[1]
session = requests.Session()


def check(response, status):
    assert response.status_code == status, f"{response.request.method} {response.url}: {response.status_code} {response.text}"
    return response


ids = []
for index in range(200):
    record = {"message": f"number {index}", "level": "INFO", "source": "session", "metadata": {"n": index}}
    if index % 3 == 0:
        ids.append(check(session.post(f"{url}/data/", json=record), 201).json()["id"])
    elif index % 3 == 1:
        ids.append(check(session.post(f"{url}/data/fast", json=record), 202).json()["id"])
    else:
        accepted = check(session.post(f"{url}/data/batch", json=[record, record]), 202).json()
        assert accepted["accepted"] == 2, accepted
    check(session.get(f"{url}/health"), 200)
    page = check(session.get(f"{url}/logs/", params={"source": "session", "limit": 5}), 200).json()
    assert page["logs"], page
    # An error in between must not spoil the connection.
    if index % 10 == 0:
        check(session.post(f"{url}/data/fast", data="{", headers={"Content-Type": "application/json"}), 400)
        check(session.get(f"{url}/logs/nonsense"), 400)

deadline = time.time() + 10
while session.get(f"{url}/stats").json()["total"] < 266 and time.time() < deadline:
    time.sleep(0.02)
stats = check(session.get(f"{url}/stats"), 200).json()
assert stats["total"] == 67 + 67 + 2 * 66, stats
for identity in ids:
    assert check(session.get(f"{url}/logs/{identity}"), 200).json()["id"] == identity
opened = sum(pool.num_connections for pool in session.adapters["http://"].poolmanager.pools._container.values())
assert opened == 1, f"{opened} connections were opened for one session"
lines = list(session.get(f"{url}/logs/export", params={"format": "ndjson"}, stream=True).iter_lines())
assert len(lines) == stats["total"], len(lines)
