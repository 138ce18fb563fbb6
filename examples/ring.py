"""Learn eight points on a ring, and draw what was learned: the smallest whole use of limner from Python."""

import limner
from limner.core.events import Epoch, Saved

for event in limner.train("gan", data="ring", epochs=1, batch=500, latent=2, out="runs/ring"):
    if isinstance(event, Epoch | Saved):
        print(event)

model = limner.load("runs/ring/model.safetensors")
print(model.header["card"])
model.generate(2500, seed=0).save("ring.png")
