"""Parts that families of base models share: loading, text, VAE, noise, and the base class of the video UNets."""
